"""Takes a lease, then runs a command of Dagster's: `python -m ml_platform.launchers LEASE_ID COMMAND...`."""

import sys

from ml_platform.launchers.leases.lease import main

sys.exit(main(sys.argv[1:]))
