from pathlib import Path

import pytest

from ml_platform.pipeline import load_pipeline, signatures
from ml_platform_tests.conftest import run_python
from ml_platform_tests.platform import YAML, small_yaml


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts the child processes."""
    calls: list[str] = []
    ask = signatures._ask_child
    monkeypatch.setattr(signatures, "_ask_child", lambda request: (calls.append(request), ask(request))[1])
    return calls


@pytest.mark.full
def test_the_child_is_asked_once_for_each_state_of_the_code(cache: Path, asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml())
    first = load_pipeline(path)
    assert load_pipeline(path) == first
    assert len(asked) == 1
    path.write_text(small_yaml(("learning_rate: 0.05", "learning_rate: 0.06")))
    load_pipeline(path)
    assert len(asked) == 2


@pytest.mark.full
def test_changed_source_is_another_state(cache: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    load_pipeline(YAML)
    source_of = signatures._source_of
    monkeypatch.setattr(signatures, "_source_of", lambda package: [*source_of(package), "# changed"])
    load_pipeline(YAML)
    assert len(asked) == 2


@pytest.mark.full
def test_another_installed_version_is_another_state(
    cache: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_pipeline(YAML)
    monkeypatch.setattr(signatures, "_installed", lambda: ["scikit_learn-9.9.9.dist-info"])
    load_pipeline(YAML)
    assert len(asked) == 2


@pytest.mark.full
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    load_pipeline(YAML)
    assert "the inspection is not cached" in caplog.text


def test_loading_a_pipeline_imports_no_library_that_its_steps_use(cache: Path) -> None:
    """The first load asks a child, the second the cache; neither imports here."""
    code = f"""
import sys
from pathlib import Path
from ml_platform.pipeline import load_pipeline
load_pipeline(Path({str(YAML)!r}))
print([name for name in ("sklearn", "torch", "pandas", "numpy", "pyarrow", "duckdb", "skops") if name in sys.modules])
"""
    assert run_python(code, XDG_CACHE_HOME=str(cache)) == "[]"
    assert run_python(code, XDG_CACHE_HOME=str(cache)) == "[]"


def test_schemas_are_known_before_anything_runs() -> None:
    pipeline = load_pipeline(YAML)
    assert pipeline.steps["departures"].schema["late"].type == "boolean"
    assert pipeline.steps["weather_before"].schema["temp"].nullable
    assert pipeline.steps["codes"].learns
    assert not pipeline.steps["calendar"].learns
    assert pipeline.steps["weather_before"].lookback.total_seconds() == 4 * 3600
