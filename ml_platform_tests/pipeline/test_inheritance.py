"""A variant says what differs from its parent; an override of nothing is refused with file and line."""

from pathlib import Path

import pytest

from ml_platform.errors import SpecError
from ml_platform.pipeline.inheritance import load_declaration
from ml_platform.pipeline.spec import PipelineSpec, load_spec
from ml_platform_tests.platform import small_yaml


def variant(folder: Path, overrides: str, name: str = "variant", extends: str = "pipeline.yaml") -> PipelineSpec:
    (folder / "pipeline.yaml").write_text(small_yaml())
    (folder / "variant.yaml").write_text(f"pipeline: {name}\nextends: {extends}\n{overrides}\n")
    return load_spec(folder / "variant.yaml")


def test_what_is_not_overridden_is_the_parents(tmp_path: Path) -> None:
    spec = variant(tmp_path, "target: late")
    parent = load_spec(tmp_path / "pipeline.yaml")
    assert spec.pipeline == "variant"
    assert spec.extends == "pipeline.yaml"
    assert {**spec.model_dump(), "pipeline": "flight_delays", "extends": None} == parent.model_dump()


def test_a_parameter_is_changed_and_the_others_stay(tmp_path: Path) -> None:
    spec = variant(tmp_path, "steps: {weather_before: {with: {lag_hours: 2}}}")
    with_ = spec.steps["weather_before"].with_
    assert (with_["lag_hours"], with_["tolerance_hours"]) == (2, 3)


def test_null_is_a_value_of_a_parameter(tmp_path: Path) -> None:
    spec = variant(tmp_path, "models: {boosted: {with: {l2_regularization: null}}}")
    assert spec.models["boosted"].with_["l2_regularization"] is None


def test_another_class_takes_the_place_of_a_step_and_its_parameters(tmp_path: Path) -> None:
    use = "{uses: sklearn.preprocessing.OneHotEncoder, columns: [carrier], with: {sparse_output: false}}"
    step = variant(tmp_path, f"steps: {{codes: {use}}}").steps["codes"]
    assert (step.with_, step.columns, step.suffix) == ({"sparse_output": False}, ["carrier"], "")
    assert (step.stage, step.inputs) == ("features", ["shares"])


def test_steps_and_models_are_added_and_left_out(tmp_path: Path) -> None:
    spec = variant(
        tmp_path,
        """
steps:
  plausible_weather: null
  weather_before: {inputs: [calendar, weather]}
  names: {stage: features, inputs: [codes], uses: a.B}
models: {boosted: null, network: {uses: a.C}}
""",
    )
    assert "plausible_weather" not in spec.steps
    assert spec.steps["names"].inputs == ["codes"]
    assert list(spec.models) == ["logistic", "network"]


def test_lists_are_replaced_or_edited(tmp_path: Path) -> None:
    spec = variant(tmp_path, "features: {columns: {remove: [humid], add: [month]}}\nevaluation: {by: [carrier]}")
    assert spec.features.columns[-2:] == ["visib", "month"]
    assert "humid" not in spec.features.columns
    assert spec.evaluation.by == ["carrier"]


def test_each_item_of_an_edited_list_keeps_the_line_that_said_it(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("pipeline: parent\nitems:\n  - [a,\n     {uses: x.Y}]\n  - b\n")
    (tmp_path / "variant.yaml").write_text("pipeline: variant\nextends: pipeline.yaml\nitems:\n  remove: b\n  add: c\n")
    merged = load_declaration(tmp_path / "variant.yaml")
    assert merged.data["items"] == [["a", {"uses": "x.Y"}], "c"]
    places = [("items",), ("items", 0), ("items", 0, 1, "uses"), ("items", 1)]
    spots = [(Path(problem.file).name, problem.line) for problem in (merged.problem(place, "") for place in places)]
    assert spots == [("variant.yaml", 3), ("pipeline.yaml", 3), ("pipeline.yaml", 4), ("variant.yaml", 5)]


def test_named_parts_of_a_scikit_learn_pipeline_are_reached_by_their_names(tmp_path: Path) -> None:
    spec = variant(tmp_path, "models: {logistic: {with: {steps: {classify: {with: {C: 0.5}}}}}}")
    _, (name, part) = spec.models["logistic"].with_["steps"]
    assert (name, part["with"]) == ("classify", {"max_iter": 300, "C": 0.5})


def test_another_way_to_split_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    assert variant(tmp_path, "split: {test: 2 months}").split.validation == "1 month"
    split = variant(tmp_path, "split: {method: random, validation: 0.1, test: 0.2, seed: 1}").split
    assert split.test == 0.2


def test_a_variant_of_a_variant_adds_to_both(tmp_path: Path) -> None:
    variant(tmp_path, "models: {logistic: null}")
    (tmp_path / "second.yaml").write_text(
        "pipeline: second\nextends: variant.yaml\nmodels: {boosted: {with: {max_iter: 7}}}\n"
    )
    spec = load_spec(tmp_path / "second.yaml")
    assert list(spec.models) == ["boosted"]
    assert spec.models["boosted"].with_["max_iter"] == 7


NOTHING = [
    ("steps: {calender: {with: {parts: []}}}", "steps.calender overrides nothing: 'flight_delays' has no such entry .did you mean 'calendar'"),
    ("steps: {calendar: {}}", "steps.calendar overrides nothing; write what is to change"),
    ("models: {boostet: null}", "models.boostet: nothing to leave out; did you mean 'boosted'"),
    ("models: {boostet: {with: {max_iter: 3}}}", "models.boostet overrides nothing: .*a new one needs 'uses'"),
    ("gates: {nix: {at_least: 1}}", "gates.nix overrides nothing: .*a new one needs 'metric'"),
    ("features: {columns: {remove: [nix]}}", "features.columns: 'nix' is not there"),
    ("features: {columns: {add: [humid]}}", "features.columns: 'humid' is there already"),
    ("models: {logistic: {with: {steps: {clasify: {with: {C: 1}}}}}}", "models.logistic.with.steps.clasify overrides nothing: did you mean 'classify'"),
    ("features: {columns: {humid: 1}}", "features.columns.humid overrides nothing: it is a list without named parts"),
    ("foo: 1", "unknown key 'foo'"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "message"), NOTHING, ids=[override for override, _ in NOTHING])
def test_an_override_of_nothing_is_refused_where_it_stands(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"variant\.yaml:4: {message}"):
        variant(tmp_path, f"owners: []\n{override}")


def test_a_mistake_is_told_in_the_file_that_made_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"variant\.yaml:5: step 'calendar': no input 'aircrafts'"):
        variant(tmp_path, "steps:\n  calendar:\n    inputs: [aircrafts]")
    with pytest.raises(SpecError, match=r"pipeline\.yaml:\d+: step 'aircraft': no input 'route'"):
        variant(tmp_path, "steps: {route: null}")
    with pytest.raises(SpecError, match=r"variant\.yaml:4: gate 'x': binary has no metric 'r2'"):
        variant(tmp_path, "gates:\n  x: {metric: r2, at_least: 0}")


def test_a_parent_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"variant\.yaml:2: no file 'nix\.yaml' to extend"):
        variant(tmp_path, "", extends="nix.yaml")
    with pytest.raises(SpecError, match=r"variant\.yaml:2: nothing to extend: .*did you mean 'flight_delays'"):
        variant(tmp_path, "", extends="flight_delay")


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("pipeline: other\nextends: variant.yaml\n")
    with pytest.raises(SpecError, match=r"other\.yaml:2: .*variant\.yaml -> .*other\.yaml -> .*variant\.yaml"):
        variant(tmp_path, "", extends="other.yaml")
    with pytest.raises(SpecError, match=r"variant\.yaml:2: the pipelines extend each other"):
        variant(tmp_path, "", extends="variant.yaml")


def test_a_variant_has_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"variant\.yaml:1: a variant of 'flight_delays' needs a name of its own"):
        variant(tmp_path, "", name="flight_delays")
