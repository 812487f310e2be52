"""Every mistake in a pipeline's YAML is refused with file, line, name and what was expected."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ml_platform import Pipeline
from ml_platform.errors import SpecError
from ml_platform.pipeline import load_pipeline, signatures
from ml_platform.pipeline.inspector import inspect_here
from ml_platform.pipeline.spec import PipelineSpec, load_spec
from ml_platform_tests import tiers
from ml_platform_tests.platform import YAML, small_yaml
from ml_platform_tests.repository import project_root

MISTAKES = [
    ("learning_rate: 0.05", "learnin_rate: 0.05", "no parameter 'learnin_rate': did you mean 'learning_rate'"),
    ("learning_rate: 0.05", "learning_rate: fast", "must be a float in the range .* Got 'fast'"),
    ("strategy: median", "strateg: median", "SimpleImputer has no parameter 'strateg'"),
    ("transformers.Calendar", "transformers.Calender", "no 'Calender' in 'ml_platform.transformers': did you mean 'Calendar'"),
    ("sklearn.ensemble.Hist", "sklearn.ensembl.Hist", "no module 'sklearn.ensembl'"),
    ("sklearn.ensemble.HistGradientBoostingClassifier", "sklearn.svm.LinearSVC", "LinearSVC has no predict_proba|no parameter"),
    ("uses: sklearn.linear_model.LogisticRegression\n            with: {max_iter: 300}", "uses: ml_platform.models.EntityEmbeddingClassifier", "it holds the network EntityEmbeddingClassifier; make the network the model itself"),
    ("target: late\n", "task: several\ntarget: late\n", "'multiclass' or 'regression', found 'several'"),
    ("split: {as_of: latest, validation: 1 month, test: 3 months}", "partitions: none\nsplit: {method: ordered, column: year, validation_from: 1, test_from: 2}", "the rows' key has no column 'year': Expected one of: carrier, flight, time_hour"),
    ("    - aircraft_age", "    - aircraft_ages", "features: no column 'aircraft_ages': did you mean 'aircraft_age'"),
    ("columns: [carrier, origin, dest]\n", "columns: [carrier, origin, destt]\n", "step 'codes': no column 'destt'"),
    ("columns: [temp, dewp", "columns: [tempe, dewp", "input 'plausible_weather': no column 'tempe'; did you mean 'temp'"),
    ("column: scheduled", "column: origin", "column 'origin' is string; expected datetime or timestamp"),
    ("columns: [temp, dewp", "columns: [origin, dewp", "column 'origin' is string; expected number"),
    ("minute_of_day, hour_of_day, day", "minute_of_days, hour_of_day, day", "no part 'minute_of_days'"),
    ("a.lat AS", "a.latt AS", 'step \'route\': the query fails: .*does not have a column named "latt"'),
    ("SELECT origin, time_hour, count", "SELEC origin, time_hour, count", "step 'traffic': the query is not SQL"),
    ("LEFT JOIN airports a", "LEFT JOIN airport a", "the query reads airport, departures, traffic; expected"),
    ("inputs: [calendar, plausible_weather]", "inputs: [calendar, wether]", "step 'weather_before': no input 'wether'"),
    ("inputs: [shares]", "inputs: [shares, planes]", "OrdinalEncoder takes one input, found 2"),
    ("  aircraft:\n", "  route:\n", r"key 'route' stands twice; first on line \d+"),
    ("inputs: [departures, airports, traffic]", "inputs: [shares, airports, traffic]", "the steps form a cycle: route -> shares"),
    ("  aircraft:\n", "  planes:\n", "step 'planes' has the name of a source"),
    ("  aircraft:\n", "  evaluation:\n", "step 'evaluation' has the name of a part of every pipeline"),
    ("  aircraft:\n", "  shares_fitted:\n", "step 'shares_fitted' has the name of what a step learnt"),
    ("  boosted:\n", "  features:\n", "model 'features' has the name of a part of every pipeline"),
    ("  planes: ml", "  store: ml", "source 'store' has the name of a part of every pipeline"),
    ("grain: one hour at one airport", "key: [orign]", "step 'traffic': no column 'orign': did you mean 'origin'"),
    ("columns: [dest, carrier, tailnum]", "columns: [dest, hour]", "Frequencies: column 'hour' is integer; expected string"),
    ("  aircraft:\n", "  Aircraft:\n", "'Aircraft' is not a name: expected small letters"),
    ("stage: filtering", "stag: filtering", "unknown key 'steps.departures.stag': did you mean 'stage'"),
    ("stage: filtering", "stage: filterin", "expected 'filtering'|'filtering', 'preprocessing' or 'features', found 'filterin'"),
    ("validation: 1 month", "validation: one month", "'one month' is not a span of time: expected such as '1 month'"),
    ("at_least: 0.4", "at_leest: 0.4", "gates.roc_auc_is_high_enough.at_leest': did you mean 'at_least'"),
    ("metric: roc_auc, at_least", "metric: roc, at_least", "gate 'roc_auc_is_high_enough': binary has no metric 'roc': did you mean 'roc_auc'"),
    ("target: late", "target: latee", "no column 'latee' to learn: did you mean 'late'"),
    ("target: late", "target: tailnum", "target 'tailnum' is string; expected boolean"),
    ("    - minute_of_day\n", "    - minute_of_day\n    - late\n", "the target 'late' is among the features"),
    ("by: [month, origin]", "by: [month, origins]", "evaluation: no column 'origins': did you mean 'origin'"),
    ("lake.PLANES", "lake.PLANE", "'planes': no 'PLANE' in 'ml_platform_tests.lake': did you mean 'PLANES'"),
    ("lake.PLANES", "lake._HERE", "is a PosixPath, expected a TableSource"),
    ("target: late", "target: [late", "not YAML"),
    ("target: late", "target: late\nfoo: 1", "unknown key 'foo'"),
    ("target: late\n", "\n", "'target' is missing"),
    ("ml_platform.transformers.Frequencies\n    with: {columns: [dest, carrier, tailnum]}", "ml_platform_tests.planted.Hasty", "Hasty: the constructor works with 'columns'"),
    ("ml_platform.transformers.Frequencies\n    with: {columns: [dest, carrier, tailnum]}", "ml_platform_tests.planted.Vague", "Vague: rows is 'some'"),
    ("columns: [dest, carrier, tailnum]", "columns: dest", "parameter 'columns': 'str' instances are not allowed as a Sequence"),
    ("lag_hours: 1", "lag_hours: one", "parameter 'lag_hours': Input should be a valid number, found 'one'"),
    ("split: {as_of", "split: {method: monthly, as_of", "split: no method 'monthly': Expected one of: ordered, random, time"),
    ("split: {as_of", "partitions: none\nsplit: {as_of", "a split by time needs partitions; expected the method random or ordered"),
]  # fmt: skip


def names(mistakes: Sequence[tuple[str, str, str]]) -> list[str]:
    return [wrong.strip() for _, wrong, _ in mistakes]


# One that a class tells of, one that is found in columns, and one that is found in no class.
THROUGH_THE_CHILD = [
    case for case in MISTAKES if case[1] in ("strateg: median", "    - aircraft_ages", "target: [late")
]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes are inspected in this process, by what the child process calls: it takes seconds to start."""

    def inspected(request: str) -> str:
        return inspect_here(PipelineSpec.model_validate_json(request)).to_json()

    monkeypatch.setattr(signatures, "_ask_child", inspected)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("right", "wrong", "message"), tiers.cases("refusals of YAML", MISTAKES), ids=names(MISTAKES))
def test_a_mistake_is_refused_at_its_line_in_dagster_and_in_a_notebook(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    require_refusal(right, wrong, message, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong", "message"), tiers.cases("refusals of YAML, through the child", THROUGH_THE_CHILD),
    ids=names(THROUGH_THE_CHILD),
)  # fmt: skip
def test_a_mistake_is_refused_alike_by_way_of_the_child_process(
    right: str, wrong: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing cached"))
    require_refusal(right, wrong, message, tmp_path)


def require_refusal(right: str, wrong: str, message: str, folder: Path) -> None:
    path = folder / "pipeline.yaml"
    path.write_text(small_yaml((right, wrong)))
    with pytest.raises(SpecError, match=rf"(?s)pipeline\.yaml:\d+: .*{message}") as refused:
        load_pipeline(path)
    with pytest.raises(SpecError) as told_in_a_notebook:
        Pipeline.load(path)
    assert str(told_in_a_notebook.value) == str(refused.value)
    lines = path.read_text().split("\n")
    named = wrong.strip().split("\n")[-1].split(":")[0].strip("- ")
    for problem in refused.value.problems:
        near = "\n".join(lines[max(0, problem.line - 12) : problem.line + 12])
        if named in near or "missing" in problem.message:
            return
    pytest.fail(f"none of {refused.value.problems} is where {named!r} stands")


def test_the_line_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    text = small_yaml(("learning_rate: 0.05", "learnin_rate: 0.05"))
    path.write_text(text)
    with pytest.raises(SpecError) as refused:
        load_pipeline(path)
    expected = next(number for number, line in enumerate(text.split("\n"), 1) if "learnin_rate" in line)
    assert [problem.line for problem in refused.value.problems] == [expected]


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml(("learning_rate:", "rate:"), ("strategy: median", "way: median"), ("- humid", "- wet")))
    with pytest.raises(SpecError) as refused:
        load_pipeline(path)
    assert len(refused.value.problems) == 3


def test_a_file_that_is_not_there_and_one_that_is_no_mapping_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.yaml:1: no such file"):
        load_pipeline(tmp_path / "nothing.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(SpecError, match=r"list\.yaml:1: expected a mapping"):
        load_pipeline(tmp_path / "list.yaml")


@pytest.mark.full
def test_dg_check_defs_and_a_run_say_the_same(tmp_path: Path) -> None:
    """The commands themselves, over a copy of the project with one mistake; a run says nothing else."""
    root = project_root()
    for name in ("ml_platform", "deploy", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    path = tmp_path / YAML.relative_to(root)
    path.write_text(path.read_text().replace("max_iter: 300", "max_iters: 300"))
    line = next(n for n, text in enumerate(path.read_text().split("\n"), 1) if "max_iters" in text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "VIRTUAL_ENV": str(root / ".venv")}
    environment |= {"DAGSTER_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["dg", "check", "defs"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert f"pipeline.yaml:{line}: 'logistic': LogisticRegression has no parameter 'max_iters'" in output
    done = subprocess.run(
        ["ml-platform", "run", "digits"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"pipeline.yaml:{line}: 'logistic': LogisticRegression has no parameter 'max_iters'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_that_nothing_uses_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml(("  from: codes", "  from: shares")))
    load_spec(path)
    (record,) = caplog.records
    assert (
        "step 'codes' is used by nothing: no step has it among its inputs, and features are from 'shares'"
        in record.getMessage()
    )
