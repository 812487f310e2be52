"""A project is the nearest one upwards, and says which package it is."""

import os
import sys
from pathlib import Path

import pytest

from ml_platform.artifacts.home import dagster_home
from ml_platform.errors import NoProject, PlatformError
from ml_platform.project import find_project
from ml_platform_tests.conftest import run_python
from ml_platform_tests.repository import project_root


def write_project(root: Path, text: str, package: str = "shop_of_tests") -> Path:
    folder = root / package
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (root / "pyproject.toml").write_text(text)
    return folder


DG = '[tool.dg.project]\nroot_module = "shop_of_tests"\n'


def test_the_nearest_project_upwards_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "outer"\n')
    package = write_project(tmp_path / "inner", DG)
    (tmp_path / "inner" / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "inner" / "notebooks")
    project = find_project()
    assert project.root == tmp_path / "inner"
    assert (project.defs_module, project.definitions_module) == ("shop_of_tests.defs", "shop_of_tests.definitions")
    assert project.defs == package / "defs"
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert dagster_home() == tmp_path / "inner" / ".dagster"


def test_a_pyproject_of_something_else_is_passed_over(tmp_path: Path) -> None:
    write_project(tmp_path, DG)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "pyproject.toml").write_text('[project]\nname = "library"\n')
    assert find_project(tmp_path / "library").root == tmp_path


def test_our_own_settings_go_before_dagsters(tmp_path: Path) -> None:
    write_project(tmp_path, DG + '[tool.ml_platform]\ndefs_module = "shop_of_tests.catalogue"\n')
    project = find_project(tmp_path)
    assert (project.module, project.defs_module) == ("shop_of_tests", "shop_of_tests.catalogue")


def test_a_package_may_lie_in_src(tmp_path: Path) -> None:
    write_project(tmp_path / "src", "", "shop_of_tests")
    (tmp_path / "pyproject.toml").write_text(DG)
    (tmp_path / "src" / "pyproject.toml").unlink()
    assert find_project(tmp_path).sources_root == tmp_path / "src"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.dg.project]\n", "root_module is None; expected the name of the project's package"),
        (DG + "[tool.ml_platform]\nroot = 1\n", r"\[tool.ml_platform\]: unknown key 'root': .*root_module"),
        ('[tool.dg]\nproject = "x"\n', r"\[tool.dg.project\] is 'x'; expected a table"),
        (DG + "defs_module = 3\n", "defs_module is 3; expected a module's dotted name"),
        ("[tool.dg.project\n", "pyproject.toml: not TOML"),
    ],
)
def test_a_wrong_pyproject_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    write_project(tmp_path, text)
    with pytest.raises(PlatformError, match=told):
        find_project(tmp_path)


def test_a_package_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "nowhere_to_be_found"\n')
    with pytest.raises(PlatformError, match=r"root_module is 'nowhere_to_be_found', found no such package in .*src"):
        find_project(tmp_path).put_on_path()


def test_without_a_project_it_is_said_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoProject, match=r"no project in .*ml-platform new project NAME"):
        find_project()


def test_a_project_that_is_not_installed_can_be_imported_here_and_in_processes_started_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, DG)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    for _ in range(2):
        find_project(tmp_path).put_on_path()
    assert os.environ["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/elsewhere"
    assert run_python("import shop_of_tests; print(shop_of_tests.__file__)").startswith(str(tmp_path))
    import shop_of_tests  # noqa: F401

    del sys.modules["shop_of_tests"]


def test_an_installed_project_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [*sys.path]
    find_project(project_root()).put_on_path()
    assert sys.path == before
