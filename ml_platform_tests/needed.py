"""What tests need from the system: where it is, or why they are left out."""

import os
import shutil
from typing import NoReturn

import pytest


def program(package: str, *names: str) -> str:
    """Finds a program by any of its names; `make test` or `make test-all` installs its package where it may."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    for name in names:
        if (found := shutil.which(name, path=path)) is not None:
            return found
    leave_out(f"{names[0]} is missing; as root: apt-get install {package}")


def leave_out(why: str) -> NoReturn:
    """Skips a test; with `CI` set it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}; with CI set nothing may be left out")
    pytest.skip(why)
