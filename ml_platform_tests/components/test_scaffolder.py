"""`dg scaffold defs` writes a pipeline that loads; `dg` itself is run in test_wheel."""

from pathlib import Path

import click
import dagster as dg
import pytest

from ml_platform.components.scaffolder import PipelineParams, PipelineScaffolder
from ml_platform.pipeline.discovery import declared_pipelines
from ml_platform.project import Project, find_project
from ml_platform.scaffolding.projects import new_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = find_project(new_project("scaffolded-shop", tmp_path))
    monkeypatch.syspath_prepend(str(project.root))
    monkeypatch.setenv("PYTHONPATH", "")
    return project


def scaffold(project: Project, name: str, **params: str) -> Path:
    folder = project.defs / name
    request = dg.ScaffoldRequest(
        type_name="ml_platform.components.MLPipelineComponent", target_path=folder, scaffold_format="yaml",
        project_root=project.root, params=PipelineParams(**params),
    )  # fmt: skip
    PipelineScaffolder().scaffold(request)
    return folder


def test_without_data_an_example_is_written(project: Project) -> None:
    folder = scaffold(project, "irises")
    assert sorted(path.name for path in folder.glob("*.*")) == [
        "defs.yaml",
        "irises.csv",
        "pipeline.yaml",
        "sources.py",
    ]
    assert declared_pipelines(project) == {"irises": folder / "pipeline.yaml"}


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"data": "rows.csv"}, "expected both of --data and --target"),
        ({"data": "nothing.csv", "target": "y"}, "nothing.csv: no such file"),
    ],
)
def test_what_is_refused_leaves_no_folder(project: Project, params: dict[str, str], told: str) -> None:
    with pytest.raises(click.ClickException, match=told):
        scaffold(project, "idea", **params)
    assert not (project.defs / "idea").exists()
