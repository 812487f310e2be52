"""What holds for the whole repository."""

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml

import ml_platform
from ml_platform_tests import tiers
from ml_platform_tests.conftest import run_python
from ml_platform_tests.platform import Platform
from ml_platform_tests.repository import project_root

ROOT = project_root()


def test_the_workspace_names_the_same_module_and_location_as_dg() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_the_top_level_is_complete() -> None:
    for name in (
        "pyproject.toml",
        "ml_platform",
        "ml_platform_tests",
        "workspace.yaml",
        "deploy",
        "README.md",
        "LICENSE",
    ):
        assert (ROOT / name).exists(), name


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    code = """
import sys
from ml_platform.definitions import defs
defs().resolve_all_job_defs()
heavy = ["torch", "sklearn", "skops", "pandera", "pandas", "duckdb", "matplotlib"]
print([name for name in heavy if name in sys.modules])
"""
    assert run_python(code) == "[]"


def test_the_launchers_can_be_used_without_the_rest() -> None:
    code = "import sys, ml_platform.launchers; print(*sorted(m for m in sys.modules if m.startswith('ml_platform.')))"
    loaded = run_python(code).split()
    alone = {
        "ml_platform.compat",
        "ml_platform.databases",
        "ml_platform.errors",
        "ml_platform.extras",
        "ml_platform.launchers",
        "ml_platform.plugins",
    }
    assert {".".join(name.split(".")[:2]) for name in loaded} == alone


OURS = {"ml_platform", "ml_platform_tests", "benchmarks", "docs"}
INTERNAL = ("dagster_shared", "dagster.components.core", "dagster.components.definitions")
IN_PARTS = (
    "dagster_k8s",
    "dagster_postgres",
    "dagster_ray",
)  # each promises what it has itself, and no module of its own
DOORS = ("ml_platform/compat/", "ml_platform_tests/compat/", "ml_platform_tests/dagster_internals.py")


def private_imports(path: Path) -> Iterator[str]:
    """Finds what a file imports of another library that does not promise it, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named = [(one.name, one.name) for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [(str(node.module), f"{node.module}.{one.name}") for one in node.names]
        else:
            continue
        yield from (f"{path}:{node.lineno}: {name}" for module, name in named if is_private(module, name))


def is_private(module: str, name: str) -> bool:
    """Whether a library does not promise a name, or the module that it is imported from."""
    library = module.partition(".")[0]
    if library in OURS or library == "__future__":
        return False
    is_marked = any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
    is_internal = any(f"{module}.".startswith(f"{one}.") for one in INTERNAL)
    return is_marked or is_internal or (library in IN_PARTS and module != library)


def test_private_names_of_other_libraries_are_imported_in_one_place_each() -> None:
    folders = ("ml_platform", "ml_platform_tests", "benchmarks", "docs")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    apart = [path for path in files if not str(path.relative_to(ROOT)).startswith(DOORS)]
    found = [str(Path(one).relative_to(ROOT)) for path in apart for one in private_imports(path)]
    told = "import it from ml_platform.compat, or in tests alone from ml_platform_tests.dagster_internals"
    assert found == [], "\n".join([*found, told])


@pytest.mark.parametrize(
    "line",
    [
        "from dagster._core.launcher import RunLauncher",
        "from dagster import _check as check",
        "import dagster._core.launcher",
        "from dagster.components.core.component_tree import ComponentTreeException",
        "from dagster.components.definitions import LazyDefinitions",
        "from dagster_shared.record import replace",
        "import dagster_shared",
        "from dagster_k8s.job import construct_dagster_k8s_job",
        "import dagster_k8s.job as jobs",
        "from dagster_ray.configs import RayExecutionConfig",
        "from dagster_postgres.utils import pg_url_from_config",
        "from sklearn.utils._param_validation import InvalidParameterError",
    ],
)
def test_a_private_name_is_found_wherever_it_is_imported(line: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(
        f"import dagster_k8s, dagster as dg\nfrom dagster_k8s import K8sRunLauncher\n\ndef f():\n    {line}\n"
    )
    (found,) = private_imports(path)
    assert found.startswith(f"{path}:5: ")


def test_every_environment_variable_is_documented_and_every_documented_one_is_read() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "ml_platform").rglob("*.py"))
    read = set(re.findall(r"""(?:environ(?:\.get)?[\[(]|EnvVar\()["']([A-Z_]+)["']""", sources))
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert read == documented


def test_every_file_that_the_guides_link_to_is_there() -> None:
    missing = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]:
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        missing += [f"{page.name}: {link}" for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_package_and_top_module_is_on_the_map() -> None:
    """docs/layout.md names each, from the top to the bottom as the layers of import-linter are."""
    shown = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs" / "layout.md").read_text(), re.MULTILINE)
    named = [name for row in shown for name in re.findall(r"`(\w+)`", row)]
    there = {path.stem for path in (ROOT / "ml_platform").iterdir() if (path / "__init__.py").exists()}
    there |= {path.stem for path in (ROOT / "ml_platform").glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(there)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert sorted(name.strip() for layer in layers for name in layer.split("|")) == [
        f"ml_platform.{name}" for name in sorted(there)
    ]


def test_constraints_pin_every_dependency_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[<>=, ]", need)[0].lower() for need in needed} - {project["name"]}  # an extra of extras
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line)}
    assert names - pinned == set()
    assert all("==" in line for line in lines if not line.startswith("#"))


def test_the_dagster_family_moves_together() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    core = {name: pins[name] for name in ("dagster", "dagster-webserver", "dagster-graphql", "dagster-dg-cli")}
    assert len(set(core.values())) == 1, core


def test_every_test_file_is_named_after_a_module_or_folder() -> None:
    known = {path.stem for path in (ROOT / "ml_platform").rglob("*.py")} | {"__init__"}
    known |= {path.name for path in (ROOT / "ml_platform").rglob("*") if path.is_dir()}
    extra = {"conventions", "wheel", "refusals", "demo", "public_check", "ui", "kills", "paths", "pipelines", "cluster"}
    extra |= {"postgres", "faults", "escalation", "double_starts", "machine", "outages", "mutants"}
    extra |= {"golden", "hostile", "hostile_tags", "secrets", "audit", "proxy", "roles", "images", "probes"}
    found = {path.stem.removeprefix("test_") for path in (ROOT / "ml_platform_tests").rglob("test_*.py")}
    assert found <= known | extra


def test_every_tier_is_described_and_has_its_command() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    described = dict(marker.split(": ") for marker in options["markers"])
    assert described == {"full": "run by `make test-all`", "soak": "run by `make soak`"}
    rules = (ROOT / "Makefile").read_text()
    assert 'test-all: test setup-tests\n\t$(PYTEST) -m "full and not soak"\n' in rules
    assert "soak: test-all\n\tpytest -m soak" in rules
    assert "make check test-all" in (ROOT / ".ci" / "run").read_text()
    guide = (ROOT / "docs" / "testing.md").read_text()
    assert all(f"| `make {command}` |" in guide for command in ("test", "test-all", "soak"))


def test_every_list_that_a_tier_takes_a_part_of_is_used_and_every_module_that_begins_first_is_there() -> None:
    tests = ROOT / "ml_platform_tests"
    text = "\n".join(path.read_text() for path in tests.rglob("test_*.py"))
    assert [name for name in (*tiers.CASES, *tiers.COUNTS) if f'"{name}"' not in text] == []
    assert [name for name in tiers.LONGEST if not (tests / name).exists()] == []


@pytest.mark.full
def test_the_guide_to_transformers_runs(tmp_path: Path) -> None:
    """Every block of it, in order, in a process of its own; and the command that needs no file."""
    text = (ROOT / "docs" / "transformers.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    printed = run_python("\n".join(blocks))
    assert [line.split(" (")[0] for line in printed.splitlines() if " kept (" in line] == [
        "3 broken, 2 not declared, 1 not applicable, 4 kept",
        "1 broken, 2 not declared, 1 not applicable, 6 kept",
        "1 not applicable, 9 kept",
    ]
    command = next(line for line in text.splitlines() if line.startswith("ml-platform") and "Calendar" in line)
    assert subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_the_notebook_guide_runs(
    made: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of it, in order, over the sample."""
    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", made.store.base)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block.replace('"flight_delays"', repr(str(made.folder / "pipeline.yaml"))), scope)
    printed = capsys.readouterr().out
    assert "step 'departures' drops" in printed
    kept = scope["flights"]["dep_delay"].notna().sum()  # type: ignore[index]
    assert len(scope["answers"]) == kept  # type: ignore[arg-type]


@pytest.mark.full
def test_the_first_notebook_runs_and_shows_real_pictures(tmp_path: Path, real_year: Path) -> None:
    """Every cell, in a copy of the project where the demo ran: a class is checked, compared, lifted, materialized."""
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "docs" / "run_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    shutil.copytree(real_year / "home", tmp_path / ".dagster")
    ran, kept = runner.run_in_copy(tmp_path), nbformat.read(ROOT / runner.NOTEBOOK, as_version=4)
    assert (tmp_path / "ml_platform" / "transformers" / "holiday_distance.py").exists()
    pictures = [sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
                for notebook in (ran, kept)]  # fmt: skip
    assert pictures == [3, 3]
    text = (ROOT / runner.NOTEBOOK).read_text()
    assert "these rows cannot tell holidays from flight_delays" in text
    assert not re.search(r"/(tmp|home|root|work)/", text)


def test_the_public_names_are_these_and_each_can_be_had() -> None:
    assert sorted(ml_platform.__all__) == [
        "DataTransformer",
        "MLPipelineComponent",
        "Partitions",
        "Pipeline",
        "PlatformError",
        "Schema",
        "TableSource",
        "check_transformer",
        "resources_for_project",
        "source_assets",
    ]
    for name in ml_platform.__all__:
        assert getattr(ml_platform, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'ml_platform' has no attribute 'nothing'"):
        _ = ml_platform.nothing


def test_importing_the_package_imports_neither_dagster_nor_anything_heavy() -> None:
    loaded = run_python("import ml_platform, sys; print(*sys.modules)").split()
    assert not {"dagster", "sklearn", "torch", "pandas", "pydantic"} & set(loaded)
