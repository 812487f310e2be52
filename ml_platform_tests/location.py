"""A code location for servers under test: the pipeline in $ML_PLATFORM_TEST_FOLDER over the sample."""

import os
from pathlib import Path

from ml_platform_tests.platform import definitions_in

defs = definitions_in(Path(os.environ["ML_PLATFORM_TEST_FOLDER"]))
