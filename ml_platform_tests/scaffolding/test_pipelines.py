"""What is written runs as it is written, in each of its forms; what is refused leaves nothing behind."""

import sys
from pathlib import Path

import pytest

from ml_platform import Pipeline
from ml_platform.artifacts import ArtifactStore
from ml_platform.errors import PlatformError
from ml_platform.project import Project, find_project
from ml_platform.scaffolding.pipelines import new_pipeline
from ml_platform.scaffolding.projects import new_project
from ml_platform_tests import lake

FOLDER = Path(lake.__file__).parent


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A new project that nobody installed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    yield find_project(new_project("drafted-shop", tmp_path))
    for name in [name for name in sys.modules if name.startswith("drafted_shop")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "target", "time", "task"),
    [
        ("flights.csv", "dep_delay", "time_hour", "regression"),
        ("flights.csv", "origin", None, "multiclass"),
        ("flights.csv", "cancelled word", "time_hour", "binary"),
        ("planes.csv", "seats", None, "regression"),
    ],
)
def test_a_drafted_pipeline_fits_and_is_judged(
    project: Project, tmp_path: Path, file: str, target: str, time: str | None, task: str
) -> None:
    data = project.root / "data" / file
    data.parent.mkdir()
    lines = (FOLDER / file).read_text().splitlines()
    at = lines[0].split(",").index("dep_time") if target == "cancelled word" else None
    words = ["cancelled word"] + [
        "" if at is None else "yes" if line.split(",")[at] == "NA" else "no" for line in lines[1:]
    ]
    data.write_text("".join(f"{line},{word}\n" for line, word in zip(lines, words, strict=True)))
    draft = new_pipeline(project, project.defs / "idea", data, target, time)
    assert draft.task == task
    pipeline = Pipeline.load(
        project.defs / "idea" / "pipeline.yaml", store=ArtifactStore(str(tmp_path / "store")), verbose=False
    )
    facts = pipeline.fit().evaluate().facts
    assert set(facts["models"]) == {"linear", "boosted"}
    assert facts["rows_test"] > 100


def test_a_project_can_be_moved_with_data_inside_and_names_those_outside(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "it's data"
    outside.mkdir()
    inside = project.root / "data"
    inside.mkdir()
    for folder in (outside, inside):
        (folder / "planes.csv").write_bytes((FOLDER / "planes.csv").read_bytes())
    new_pipeline(project, project.defs / "near", inside / "planes.csv", "seats")
    new_pipeline(project, project.defs / "far", outside / "planes.csv", "seats")
    near, far = ((project.defs / name / "sources.py").read_text() for name in ("near", "far"))
    assert 'folder=Path(__file__).parents[3] / "data",' in near
    assert repr(str(outside)) in far


@pytest.mark.parametrize(
    ("name", "target", "told"),
    [
        ("Idea", "seats", "'Idea' is not a pipeline's name"),
        ("codes", "seats", "'codes' is what a part of each pipeline is called"),
        ("idea", "nothing", "no column 'nothing'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(project: Project, name: str, target: str, told: str) -> None:
    before = sorted(project.root.rglob("*"))
    with pytest.raises(PlatformError, match=told):
        new_pipeline(project, project.defs / name, FOLDER / "planes.csv", target)
    assert sorted(project.root.rglob("*")) == before


def test_a_pipeline_that_is_there_is_not_written_over(project: Project) -> None:
    new_pipeline(project, project.defs / "idea", FOLDER / "planes.csv", "seats")
    before = (project.defs / "idea" / "pipeline.yaml").read_bytes()
    for folder in ("idea", "elsewhere/idea"):
        with pytest.raises(PlatformError, match="the pipeline 'idea' is there already"):
            new_pipeline(project, project.defs / folder, FOLDER / "planes.csv", "engines")
    assert (project.defs / "idea" / "pipeline.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Shop", "not a project's name"),
        ("torch", "a package 'torch' is installed"),
        ("json", "a package 'json' is installed"),
        ("shop", "is there already"),
    ],
)
def test_a_project_that_cannot_be_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "kept").touch()
    with pytest.raises(PlatformError, match=told):
        new_project(name, tmp_path)
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["kept"]
