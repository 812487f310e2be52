"""Tests of launchers; `FOLDER` names the variable that says where assets leave marks for the tests."""

FOLDER = "ML_PLATFORM_TEST_FOLDER"
