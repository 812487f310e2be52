"""A regression by YAML alone: the third pipeline on the flights' sources, in Dagster and in a notebook."""

from pathlib import Path

import pytest

from ml_platform import Pipeline
from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.reports import page_path, read_answers
from ml_platform.runtime import nodes_of
from ml_platform.runtime.diff import Side, compare
from ml_platform_tests import lake
from ml_platform_tests.platform import Platform

YAML = Path(__file__).parents[1] / "pipelines" / "arrival_delays.yaml"


@pytest.fixture(scope="module")
def arrivals(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    text = YAML.read_text().replace("ml_platform.sources.nycflights13.", "ml_platform_tests.lake.")
    platform = Platform(
        tmp_path_factory.mktemp("arrivals"), text.replace("at_least: 0.0", "at_least: -1"), (lake.FLIGHTS, lake.WEATHER)
    )
    assert platform.run().success
    return platform


def test_it_is_yaml_alone() -> None:
    assert {uses.split(".")[0] for uses in _used(YAML)} == {"ml_platform", "sklearn"}
    assert not any("tests" in uses for uses in _used(YAML))


def _used(path: Path) -> list[str]:
    lines = path.read_text().replace("{uses: ", "\nuses: ").split("\n")
    return [line.split("uses: ")[1].strip(" }") for line in lines if "uses: " in line]


@pytest.mark.full
def test_errors_are_told_by_origin_and_carrier(arrivals: Platform) -> None:
    facts = arrivals.report("arrival_delays/evaluation").facts
    assert facts["metric_names"] == ["rmse", "mae", "r2"]
    assert facts["selected_by"] == "rmse"
    assert [row["value"] for row in facts["by"]["origin"]] == ["EWR", "JFK", "LGA"]
    rows = facts["by"]["carrier"]
    total = sum(row["rows"] * row["figures"]["rmse"] ** 2 for row in rows) / sum(row["rows"] for row in rows)
    assert total**0.5 == pytest.approx(facts["metrics"]["rmse"])
    page = page_path(arrivals.store, arrivals.store.require("arrival_delays/evaluation")).read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "RMSE on test" in page


@pytest.mark.full
def test_predictions_are_numbers_and_the_evaluation_keeps_those_of_the_test_rows(arrivals: Platform) -> None:
    said = arrivals.frames("arrival_delays/predictions").read_all()
    kept = read_answers(arrivals.store, arrivals.store.require("arrival_delays/evaluation"))
    assert list(said.columns) == ["time_hour", "carrier", "flight", "predicted_arr_delay"]
    both = kept.merge(said, on=["time_hour", "carrier", "flight"])
    assert len(both) == len(kept) == arrivals.report("arrival_delays/evaluation").facts["rows_test"]
    assert both["predicted_arr_delay_x"].equals(both["predicted_arr_delay_y"])


@pytest.mark.full
def test_a_notebook_makes_the_same_bytes_and_says_the_same(arrivals: Platform, tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    pipeline = Pipeline.load(arrivals.folder / "pipeline.yaml", store=store, verbose=False).fit()
    made = pipeline.materialize_all().artifacts
    store.promote(artifact for parts in made.values() for artifact in parts.values())
    nodes = nodes_of(arrivals.pipeline)
    compared = list(compare(nodes, Side("notebook", store), Side("dagster", arrivals.store)))
    assert [difference for *_, difference in compared if difference] == []
    assert len(compared) == len(nodes)
    frames = arrivals.frames("arrival_delays/predictions").read_all()
    assert (pipeline.predict(pipeline.sources()) == frames["predicted_arr_delay"]).all()
    rows = arrivals.frames("arrival_delays/arrivals").read_all()
    behind = pipeline.set_params(model="boosted").after("arrivals").fit(rows)
    assert behind.score(rows, rows["arr_delay"]) > 0
    assert behind.__sklearn_tags__().estimator_type == "regressor"
