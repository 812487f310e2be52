"""The platform's numbers stand for its own source, and the libraries that this source computes with are named."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from ml_platform.versions import graph
from ml_platform.versions.closure import code_of, runner_code
from ml_platform.versions.graph import Library, SourceGraph, Symbol
from ml_platform.versions.platform_versions import CONTRACT, RUNNERS
from ml_platform_tests.conftest import run_python
from ml_platform_tests.repository import project_root

FRAMES = "ml_platform.artifacts.frames"
SPLITS = ["ml_platform.splits.random.SplitByHash", "ml_platform.splits.ordered.SplitByNumber"]
OBJECTS = "ml_platform.artifacts.objects.write_object"
REPORTS = "ml_platform.artifacts.reports.write_report"
# Where the work on each kind of value begins.
BEGINNINGS = {
    "source": ["ml_platform.sources.TableSource", f"{FRAMES}.write_frame"],
    "frame": ["ml_platform.runtime.steps.transformed", f"{FRAMES}.write_frame", f"{FRAMES}.read_frames"],
    "fitted": ["ml_platform.runtime.steps.fit_step", OBJECTS, f"{FRAMES}.read_frames", *SPLITS],
    "model": ["ml_platform.training.train_model", OBJECTS, f"{FRAMES}.read_frames", *SPLITS],
    "selection": ["ml_platform.evaluation.select_best", "ml_platform.tasks.TASKS", REPORTS],
    "evaluation": ["ml_platform.evaluation.evaluate", REPORTS, f"{FRAMES}.read_frames", *SPLITS],
    "approved": ["ml_platform.evaluation.approve", REPORTS],
    "predictions": ["ml_platform.evaluation.predictions.predict_partition", f"{FRAMES}.write_frame"],
    "contract": [
        "ml_platform.contract.transformer.DataTransformer",
        "ml_platform.schema.Schema",
        "ml_platform.schema.frame_schema",
        "ml_platform.errors.require_columns",
    ],
}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_the_libraries_are_those_that_the_source_uses(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "numbered", lambda _: None)
    found = SourceGraph().reach(BEGINNINGS[kind])
    assert sum(isinstance(node, Symbol) for node in found) > 5
    named = (RUNNERS | {"contract": CONTRACT})[kind].libraries
    used = {node.name for node in found if isinstance(node, Library)}
    assert sorted(used - sys.stdlib_module_names) == sorted(named)


def test_every_kind_has_a_beginning() -> None:
    assert set(BEGINNINGS) == {*RUNNERS, "contract"}


def test_a_step_is_hashed_and_what_it_inherits_is_a_number() -> None:
    found = code_of(["ml_platform.transformers.Clip"])
    assert "ml_platform.transformers.clip.Clip" in found.symbols
    assert [name for name in found.symbols if not name.startswith("ml_platform.transformers.")] == []
    assert found.platform == {"contract": CONTRACT.number}
    assert "scikit-learn" in found.distributions


def test_what_no_number_stands_for_is_hashed() -> None:
    found = code_of(["ml_platform.artifacts.frames.write_frame"])
    assert "ml_platform.artifacts.frames.write_frame" in found.symbols


def test_the_runner_itself_is_a_number() -> None:
    found = runner_code("model")
    assert (found.symbols, found.platform) == ({}, {"model": RUNNERS["model"].number})
    assert {"scikit-learn", "skops", "pyarrow"} <= set(found.distributions)


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    return code_versions(project_root() / "ml_platform")


class TestAnUpgrade:
    """Another version of the platform, installed where wheels lie, finds what this one made."""

    @pytest.fixture
    def installed(self, tmp_path: Path) -> Path:
        package = tmp_path / "site-packages" / "ml_platform"
        shutil.copytree(project_root() / "ml_platform", package, ignore=shutil.ignore_patterns("__pycache__"))
        return package

    @pytest.mark.full
    def test_of_messages_recomputes_nothing(self, installed: Path, now: dict[str, str]) -> None:
        edit(installed / "errors.py", "did you mean", "perhaps you mean")
        edit(installed / "artifacts" / "store.py", "materialize", "please materialize")
        edit(installed / "evaluation" / "evaluator.py", "materialize selection", "please materialize selection")
        assert code_versions(installed) == now

    @pytest.mark.full
    def test_of_a_step_recomputes_that_step(self, installed: Path, now: dict[str, str]) -> None:
        edit(installed / "transformers" / "calendar.py", "times.dt.day_of_week", "times.dt.dayofweek")
        found = code_versions(installed)
        assert {name for name in now if found[name] != now[name]} == {"flight_delays/calendar"}

    @pytest.mark.full
    def test_with_another_number_recomputes_that_kind(self, installed: Path, now: dict[str, str]) -> None:
        number = RUNNERS["selection"].number
        old, new = (f'"selection": RunnerVersion({one},' for one in (number, number + 1))
        edit(installed / "versions" / "platform_versions.py", old, new)
        found = code_versions(installed)
        assert {name for name in now if found[name] != now[name]} == {"flight_delays/selection"}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


def code_versions(package: Path) -> dict[str, str]:
    code = f"""
import sys
sys.path.insert(0, {str(package.parent)!r})
import json, pathlib, ml_platform
from ml_platform.pipeline import load_pipeline
from ml_platform.runtime import nodes_of
assert ml_platform.__file__.startswith({str(package)!r})
path = pathlib.Path({str(package)!r}) / "defs" / "flight_delays" / "pipeline.yaml"
print(json.dumps({{node.asset: node.code_version for node in nodes_of(load_pipeline(path)).values()}}))
"""
    found: dict[str, str] = json.loads(run_python(code))
    return found
