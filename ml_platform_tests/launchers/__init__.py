"""Tests of launchers.

`FOLDER` names the variable that says where assets leave marks for the tests, `HELD` the file there that keeps one at work.
"""

FOLDER = "ML_PLATFORM_TEST_FOLDER"
HELD = "held_{}"
