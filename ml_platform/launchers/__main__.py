"""What every process of a launch is started by: `python -m ml_platform.launchers TICKET COMMAND...`."""

import sys

from ml_platform.launchers.leases.lease import main

sys.exit(main(sys.argv[1:]))
