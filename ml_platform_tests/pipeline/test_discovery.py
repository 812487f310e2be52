import sys
from pathlib import Path

import pytest

from ml_platform.errors import PlatformError
from ml_platform.pipeline.discovery import _name_in, declared_pipelines, find_pipeline
from ml_platform_tests.platform import YAML


def test_a_pipeline_is_found_by_its_name_and_any_by_its_path() -> None:
    assert find_pipeline("flight_delays") == YAML
    assert find_pipeline("/somewhere/else.yaml") == Path("/somewhere/else.yaml")
    assert "flight_delays" in declared_pipelines()


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(PlatformError, match="no pipeline 'flight_delay': did you mean 'flight_delays'"):
        find_pipeline("flight_delay")


def test_a_folder_that_cannot_be_found_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "shop"\n')
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    component = "type: ml_platform.components.MLPipelineComponent\n"
    for folder, name in (("one", "first"), ("two", "second"), ("three", "third")):
        path = tmp_path / "shop" / "defs" / folder
        path.mkdir(parents=True)
        (path / "pipeline.yaml").write_text(f"pipeline: {name}\n")
        (path / "defs.yaml").write_text(component)
    (path / "defs.yaml").unlink()
    with pytest.raises(
        PlatformError, match=r"no pipeline 'two': .*; the pipeline in the folder 'two' is called 'second'"
    ):
        find_pipeline("two")
    with pytest.raises(PlatformError, match=r"no pipeline 'three': .*; the folder 'three' has no defs\.yaml"):
        find_pipeline("three")
    (path / "defs.yaml").write_text(component)
    (path / "pipeline.yaml").write_text("pipeline: first\n")
    with pytest.raises(
        PlatformError, match=r"one/pipeline\.yaml and .*three/pipeline\.yaml both are the pipeline 'first'"
    ):
        declared_pipelines()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pipeline: digits  # ten", "digits"),
        ("pipeline: 'digits'", "digits"),
        ("pipeline: [", "["),
        ("pipeline:", ""),
    ],
)
def test_a_name_is_read_as_yaml_reads_it(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "pipeline.yaml").write_text(f"# the first\n{line}\n")
    assert _name_in(tmp_path / "pipeline.yaml") == name
