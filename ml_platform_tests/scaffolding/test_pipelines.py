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
from ml_platform_tests import lake, tiers

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
    tiers.cases(
        "drafted pipelines",
        [
            ("flights.csv", "cancelled word", "time_hour", "binary"),
            ("flights.csv", "dep_delay", "time_hour", "regression"),
            ("flights.csv", "origin", None, "multiclass"),
            ("planes.csv", "seats", None, "regression"),
        ],
    ),
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


@pytest.mark.full
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
        ("idea_", "seats", "'idea_' is not a pipeline's name"),
        ("yes", "seats", "'yes' is not a pipeline's name"),
        ("resources", "seats", "resources.py has the name 'resources' already"),
        ("../idea", "seats", "expected a folder in "),
        ("idea", "nothing", "no column 'nothing'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(project: Project, name: str, target: str, told: str) -> None:
    before = sorted(project.root.rglob("*"))
    with pytest.raises(PlatformError, match=told):
        new_pipeline(project, project.defs / name, FOLDER / "planes.csv", target)
    assert sorted(project.root.rglob("*")) == before


AWKWARD = """order,"a ""quoted"" name",hour_of_day,row,x,x_code,"it's",at,y
"""


def test_awkward_names_and_words_are_written_as_they_are(project: Project, tmp_path: Path) -> None:
    folder = project.root / """da"ta's"""
    folder.mkdir()
    words = ["Yes", "no", "YES", "No", ""]
    rows = [
        f"{i % 7},{i / 7},{i % 24},{i % 3},{'ab'[i % 2]},{i % 5},{'uvw'[i % 3]},2025-{1 + i // 20:02}-{1 + i % 20:02} 0{i % 9}:00:00,{words[i % 5]}"
        for i in range(200)
    ]
    data = folder / 'odd "rows".csv'
    data.write_text(AWKWARD + "\n".join(rows) + "\n")
    draft = new_pipeline(project, project.defs / "order", data, "y", "at")
    assert (draft.label, draft.positive, draft.key) == ("""lower("y") = 'yes'""", "yes", ("at",))
    assert draft.left_out == {"x": "would be coded as x_code, which is there already"}
    assert draft.parts_of_time == ["day_of_week"]
    store = ArtifactStore(str(tmp_path / "store"))
    pipeline = Pipeline.load(project.defs / "order" / "pipeline.yaml", store=store, verbose=False).upto("labelled")
    labelled = pipeline.fit().transform(pipeline.sources())
    assert (len(labelled), int(labelled["y"].sum())) == (160, 80)


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
