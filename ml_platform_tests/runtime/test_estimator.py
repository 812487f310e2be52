"""The pipeline in a notebook: one scikit-learn estimator, the same values as Dagster's, and nothing that production sees."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from ml_platform import Pipeline
from ml_platform.errors import DataError, PlatformError, RowsRefused
from ml_platform.pipeline.spec import PipelineSpec
from ml_platform.runtime import nodes_of
from ml_platform.transformers import Calendar
from ml_platform_tests.platform import Platform, small_yaml


def heads(platform: Platform) -> dict[str, bytes]:
    base = Path(platform.store.base)
    return {str(path): path.read_bytes() for path in sorted(base.glob("heads/**/*.json"))}


def notebook(platform: Platform, **parameters: object) -> Pipeline:
    return Pipeline.load(platform.folder / "pipeline.yaml", store=platform.store, verbose=False, **parameters)


def computed(pipeline: Pipeline) -> set[str]:
    """Fits and evaluates, and says what had to be computed."""
    told: set[str] = set()
    pipeline.set_params(verbose=True)
    from ml_platform.runtime.progress import Progress

    original = Progress.update

    def tell(self: Progress, node: object, made: object) -> None:
        told.update({node.name} if made and not all(one.reused for one in made) else set())  # type: ignore[attr-defined]
        original(self, node, made)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "update", tell)
        pipeline.fit().evaluate()
    return told


@pytest.fixture(scope="module")
def fitted(made: Platform) -> Pipeline:
    return notebook(made).fit()


class TestWithSources:
    """Sources from the lake: the same values as Dagster's, at the same cache keys."""

    def test_it_reads_what_dagster_made_and_computes_nothing(self, made: Platform) -> None:
        before = heads(made)
        assert computed(notebook(made)) == set()
        assert heads(made) == before

    def test_dagster_reads_what_a_notebook_made_and_computes_nothing(self, tmp_path: Path, made: Platform) -> None:
        platform = Platform(tmp_path)
        pipeline = notebook(platform).fit()
        pipeline.materialize_all()
        assert heads(platform) == {}
        result = platform.run()
        assert result.success
        reused = [e.materialization.metadata["reused"].value for e in
                  (x.step_materialization_data for x in result.all_events if x.is_step_materialization)]  # fmt: skip
        assert len(reused) > 100
        assert all(reused)
        assert platform.digests() == made.digests()

    def test_the_answers_are_dagsters_to_the_bit(self, made: Platform) -> None:
        pipeline = notebook(made).fit()
        sources = pipeline.sources()
        frames = made.frames("flight_delays/predictions").read_all()
        np.testing.assert_array_equal(pipeline.predict_proba(sources)[:, 1], frames["probability"])
        np.testing.assert_array_equal(pipeline.predict(sources), frames["predicted_late"])
        pd.testing.assert_frame_equal(pipeline.transform(sources), made.frames("flight_delays/codes").read_all())
        assert pipeline.evaluate().facts == made.report("flight_delays/evaluation").facts

    def test_a_model_is_asked_for_one_partition_at_a_time_as_in_dagster(
        self, made: Platform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The bits of a product of matrices depend on how many rows there are."""
        pipeline = notebook(made, model="logistic").fit()
        estimator, asked = pipeline.models_["logistic"].estimator, []
        ask = estimator.predict_proba
        monkeypatch.setattr(estimator, "predict_proba", lambda rows: (asked.append(len(rows)), ask(rows))[1])
        pipeline.predict(pipeline.sources())
        parts = made.frames("flight_delays/codes")
        assert asked == [len(parts.read(key, ["time_hour"])) for key in parts.parts]

    @pytest.mark.full
    def test_one_changed_step_is_computed_with_what_comes_after_it(self, tmp_path: Path, made: Platform) -> None:
        platform = Platform(tmp_path, seed=made)
        before = heads(platform)
        changed = notebook(platform).set_params(boosted__max_leaf_nodes=11)
        assert computed(changed) == {"boosted", "selection", "evaluation"}
        assert computed(changed) == set()
        parts = ["minute_of_day", "hour_of_day", "day_of_week", "day_of_year"]
        assert "aircraft" not in computed(notebook(platform).set_params(calendar__parts=parts))
        assert heads(platform) == before

    def test_saying_a_default_changes_nothing(self, made: Platform) -> None:
        assert computed(notebook(made).set_params(boosted__max_bins=255)) == set()

    def test_partitions_are_chosen_and_what_they_look_back_on_comes_with_them(self, made: Platform) -> None:
        pipeline = notebook(made).fit()
        may = pipeline.sources(["2013-05-01"])
        assert [list(frames.parts) for frames in (may["flights"], may["airports"])] == [["2013-05-01"], [None]]
        pd.testing.assert_frame_equal(pipeline.transform(may), made.frames("flight_delays/codes").read("2013-05-01"))
        with pytest.raises(DataError, match="no partition 2014-05-01; there are: 2013-01-01"):
            pipeline.sources(["2014-05-01"])

    @pytest.mark.full
    def test_latest_is_the_newest_of_the_chosen_partitions(self, made: Platform) -> None:
        keys = made.pipeline.features.spans.keys
        pipeline = notebook(made)
        pipeline.fit(pipeline.sources(keys[:8]))
        assert pipeline.evaluate().facts["split"]["as_of"] == "2013-09-01"
        assert notebook(made, as_of="2013-09-01").fit().evaluate().facts == pipeline.evaluate().facts

    def test_stages_up_to_a_named_step(self, made: Platform) -> None:
        calendar = notebook(made).upto("calendar")
        frame = calendar.fit_transform(calendar.sources(["2013-02-01"]))
        pd.testing.assert_frame_equal(frame, made.frames("flight_delays/calendar").read("2013-02-01"))
        with pytest.raises(PlatformError, match="ends with step 'calendar'; it has no model"):
            calendar.predict_proba(calendar.sources())
        with pytest.raises(PlatformError, match="no step 'calender': did you mean 'calendar'"):
            notebook(made).upto("calender")

    def test_a_sample_of_rows_is_spread_over_the_partitions(self, made: Platform) -> None:
        sources = notebook(made, rows=240).sources()
        assert [artifact.facts["rows"] for artifact in sources["flights"].parts.values()] == [20] * 12
        assert sources["planes"].parts[None].facts["rows"] > 240
        every = notebook(made).sources()["flights"].read("2013-03-01")
        some = sources["flights"].read("2013-03-01")
        assert len(some.merge(every, on=["time_hour", "carrier", "flight"])) == 20

    @pytest.mark.full
    def test_a_branch_shares_values_and_changes_nothing_for_others(
        self, tmp_path: Path, made: Platform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ml_platform.artifacts import ArtifactStore

        platform = Platform(tmp_path, seed=made)
        before = heads(platform)
        monkeypatch.setenv("ML_PLATFORM_BRANCH", "try/this")
        platform.declare(small_yaml(("learning_rate: 0.05", "learning_rate: 0.5")))
        result = platform.run(
            "flight_delays/boosted", "flight_delays/selection", "flight_delays/evaluation", "flight_delays/approved"
        )
        assert result.success
        assert heads(platform) == before
        branch = ArtifactStore(platform.store.base, "try/this")
        name = "flight_delays/evaluation"
        assert branch.require(name).digest != platform.store.require(name).digest
        assert branch.require("flight_delays/codes", "2013-01-01") == platform.store.require(
            "flight_delays/codes", "2013-01-01"
        )
        assert branch.partitions("flight_delays/codes") == platform.store.partitions("flight_delays/codes")

    def test_a_notebooks_own_class_stands_in_for_a_step(self, made: Platform) -> None:
        own = Calendar("scheduled", ["minute_of_day", "hour_of_day", "day_of_week"])
        assert computed(notebook(made).set_params(calendar=own)) == set()
        with pytest.raises(PlatformError, match="Calendar has no part 'weeks'"):
            notebook(made).set_params(calendar=Calendar("scheduled", ["weeks"])).fit()

    def test_a_pipeline_is_built_in_python(self, made: Platform) -> None:
        declared = made.pipeline.spec.model_dump(by_alias=True)
        pipeline = Pipeline(PipelineSpec.model_validate(declared), store=made.store, verbose=False)
        assert computed(pipeline) == set()
        declared["steps"]["calendar"]["inputs"] = ["nowhere"]
        with pytest.raises(PlatformError, match="pipeline 'flight_delays':1: step 'calendar': no input 'nowhere'"):
            Pipeline(PipelineSpec.model_validate(declared), store=made.store).fit()

    def test_what_is_not_fitted_says_so(self, made: Platform) -> None:
        pipeline = notebook(made)
        with pytest.raises(NotFittedError):
            pipeline.transform(pipeline.sources())


class TestNothingIsWronglyReused:
    """Cases in which something that decides a value does not show in the content of what it is made from."""

    @pytest.mark.full
    def test_validation_scores_choose_though_the_models_bytes_are_equal(self, tmp_path: Path, made: Platform) -> None:
        """With a month more for validation the final fit sees the same rows; its scores are others."""
        platform = Platform(tmp_path, small_yaml(("validation: 1 month", "validation: 2 months")), seed=made)
        assert platform.run().success
        chosen = platform.report("flight_delays/selection").facts
        assert chosen["split"]["validation_from"] == "2013-08-01"
        for name, scores in chosen["validation"].items():
            assert scores == platform.store.require(f"flight_delays/{name}").facts["validation"]

    def test_code_that_only_predicts_decides_evaluation_and_predictions(self, made: Platform) -> None:
        nodes = nodes_of(made.pipeline)
        from ml_platform_tests.planted import Flipped

        own = notebook(made).set_params(logistic=Flipped())
        found = nodes_of(own.compiled)
        for name in ("evaluation", "predictions"):
            symbols = found[f"flight_delays/{name}"].code["symbols"]  # type: ignore[index]
            assert "ml_platform_tests.planted.Flipped" in symbols
            assert found[f"flight_delays/{name}"].code_version != nodes[f"flight_delays/{name}"].code_version

    def test_what_is_done_to_an_object_later_has_no_say_or_an_address_of_its_own(self, made: Platform) -> None:
        own = HistGradientBoostingClassifier(max_iter=5, max_depth=2, random_state=0)
        pipeline = notebook(made).set_params(boosted=own)
        assert pipeline._repr_html_()
        own.set_params(max_depth=3)
        pipeline.fit()
        assert pipeline.models_["boosted"].estimator.max_depth == 3
        asks = notebook(made).set_params(boosted=clone(own).set_params(max_depth=2)).fit()
        assert asks.models_["boosted"].estimator.max_depth == 2

    def test_a_step_that_was_changed_after_the_fit_is_not_given_to_the_fitted_model(self, made: Platform) -> None:
        pipeline = notebook(made).fit()
        pipeline.set_params(calendar__parts=["minute_of_day", "hour_of_day", "day_of_week", "day_of_month"])
        with pytest.raises(DataError, match=r"went through .*versions of"):
            pipeline.predict_proba(pipeline.sources())


class TestAsAnEstimator:
    """What scikit-learn asks of an estimator."""

    def test_it_is_cloned_with_its_parameters(self, made: Platform) -> None:
        pipeline = notebook(made).set_params(boosted__max_leaf_nodes=7, model="boosted")
        copy = clone(pipeline)
        assert copy is not pipeline
        assert copy.get_params()["boosted__max_leaf_nodes"] == 7
        assert copy.get_params()["boosted"] is not pipeline.get_params()["boosted"]
        assert (copy.model, copy.store) == ("boosted", made.store)
        assert is_classifier(copy)
        assert pipeline.get_params()["logistic__classify__max_iter"] == 300
        assert copy.set_params(logistic__classify__max_iter=50).get_params()["logistic__classify__max_iter"] == 50

    def test_an_unknown_parameter_is_refused_with_the_likely_one(self, made: Platform) -> None:
        with pytest.raises(ValueError, match=r"invalid parameter 'calender' of .*: did you mean 'calendar'"):
            notebook(made).set_params(calender__parts=[])
        with pytest.raises(ValueError, match="Invalid parameter 'partz'"):
            notebook(made).set_params(calendar__partz=[])

    def test_it_is_cross_validated_on_rows(self, made: Platform) -> None:
        rows = made.frames("flight_delays/departures").read_all()
        pipeline = notebook(made, model="boosted").after("departures")
        scores = cross_val_score(pipeline, rows, rows["late"].astype(int), cv=3, scoring="roc_auc", error_score="raise")
        assert scores.shape == (3,)
        assert ((scores > 0.4) & (scores < 0.95)).all()

    @pytest.mark.full
    def test_its_steps_are_tuned_by_name(self, made: Platform) -> None:
        rows = made.frames("flight_delays/departures").read_all()
        grid = {"boosted__max_leaf_nodes": [3, 7], "shares__columns": [["dest", "carrier", "tailnum"]]}
        search = GridSearchCV(
            notebook(made, model="boosted").after("departures"), grid, cv=2, scoring="roc_auc", error_score="raise"
        )
        search.fit(rows, rows["late"].astype(int))
        assert search.best_params_["boosted__max_leaf_nodes"] in (3, 7)

    def test_it_is_drawn_as_a_diagram(self, made: Platform) -> None:
        html = notebook(made)._repr_html_()
        for word in (
            "calendar",
            "Calendar",
            "codes",
            "OrdinalEncoder",
            "boosted",
            "HistGradientBoostingClassifier",
            "sk-parallel",
        ):
            assert word in html
        assert "boosted" not in notebook(made).upto("calendar")._repr_html_()
        assert repr(notebook(made)) == "Pipeline('flight_delays')"

    @pytest.mark.full
    def test_progress_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        platform = Platform(tmp_path)
        Pipeline.load(platform.folder / "pipeline.yaml", store=platform.store).fit()
        told = capsys.readouterr().err
        assert "✓ flight_delays/departures" in told
        assert "boosted: fitting on" in told
        Pipeline.load(platform.folder / "pipeline.yaml", store=platform.store).fit()
        assert "more were there already, and were reused" in capsys.readouterr().err


class TestWithRows:
    """A frame of rows: each gets its answer in its order, or a refusal that names the step."""

    def test_rows_of_a_source_get_the_answers_that_sources_get_in_their_own_order(
        self, made: Platform, fitted: Pipeline
    ) -> None:
        flights = made.frames("lake/flights").read("2013-11-01")
        flights = flights[flights["dep_delay"].notna()].sample(frac=1, random_state=0)
        expected = made.frames("flight_delays/predictions").read("2013-11-01")
        key = ["time_hour", "carrier", "flight"]
        answers = flights[key].assign(probability=fitted.predict_proba(flights)[:, 1]).merge(expected, on=key)
        assert len(answers) == len(flights) > 50
        np.testing.assert_allclose(answers["probability_x"], answers["probability_y"], rtol=1e-9)
        assert list(fitted.transform(flights).index) == list(flights.index)

    def test_one_row_alone_gets_the_answer_that_it_gets_among_others(self, made: Platform, fitted: Pipeline) -> None:
        rows = made.frames("flight_delays/departures").read("2013-11-01").head(20)
        entered = notebook(made).after("departures").fit()
        together = entered.predict_proba(rows)
        alone = np.vstack([entered.predict_proba(rows.iloc[[place]]) for place in range(len(rows))])
        np.testing.assert_allclose(alone, together, rtol=1e-9)

    def test_a_row_that_a_filter_drops_is_refused_by_the_filters_name(self, made: Platform, fitted: Pipeline) -> None:
        flights = made.frames("lake/flights").read_all()
        cancelled = np.flatnonzero(flights["dep_delay"].isna())
        some = flights.iloc[[0, cancelled[0], 1, cancelled[1]]]
        with pytest.raises(
            RowsRefused, match=r"step 'departures' drops 2 of 4 rows.*'flight': .*\.after\('departures'\)"
        ) as refused:
            fitted.predict_proba(some)
        assert (refused.value.step, refused.value.rows) == ("departures", [1, 3])

    def test_filters_apply_when_rows_train(self, made: Platform) -> None:
        flights = made.frames("lake/flights").read_all()
        pipeline = notebook(made, model="logistic").fit(flights)
        left = int(flights["dep_delay"].notna().sum())
        assert left < len(flights)
        scaler = pipeline.models_["logistic"].estimator["prepare"].named_transformers_["remainder"]["scale"]
        assert scaler.n_samples_seen_ == left

    def test_labels_follow_their_rows_through_filters_and_sorting(self, made: Platform) -> None:
        flights = made.frames("lake/flights").read_all().sample(frac=1, random_state=3)
        labels = (flights["dep_delay"] > 15).astype(int)
        answers = [notebook(made, model="logistic").fit(flights, y) for y in (None, labels)]
        rows = flights[flights["dep_delay"].notna()].head(30)
        np.testing.assert_array_equal(answers[0].predict_proba(rows), answers[1].predict_proba(rows))

    def test_rows_that_cannot_be_told_apart_are_refused(self, made: Platform, fitted: Pipeline) -> None:
        flights = made.frames("lake/flights").read("2013-11-01")
        with pytest.raises(
            DataError, match=r"2 rows share a key \(time_hour, carrier, flight\), first at positions 0, 1"
        ):
            fitted.predict(pd.concat([flights.head(1), flights.head(1)]))
        with pytest.raises(DataError, match="rows of 'flights': no column 'carrier'"):
            fitted.predict(flights.drop(columns="carrier"))

    def test_several_models_and_no_validation_is_refused_with_what_to_set(self, made: Platform) -> None:
        rows = made.frames("flight_delays/departures").read_all()
        with pytest.raises(PlatformError, match=r"set_params\(model=...\): logistic, boosted"):
            notebook(made).after("departures").fit(rows)
        with pytest.raises(PlatformError, match="no model 'boostet': did you mean 'boosted'"):
            notebook(made, model="boostet").fit()

    @pytest.mark.parametrize("labels", [[1, 2], [0.4, 1.9], [0.0, float("nan")], ["yes", "no"]], ids=str)
    def test_labels_that_are_not_0_and_1_are_refused(self, made: Platform, labels: list[object]) -> None:
        rows = made.frames("flight_delays/departures").read("2013-02-01").head(40)
        with pytest.raises(DataError, match="target 'late': expected 0 and 1"):
            notebook(made, model="logistic").after("departures").fit(rows, labels * 20)

    def test_another_entry_takes_another_way(self, made: Platform) -> None:
        flights = made.frames("lake/flights").read("2013-11-01")
        flights = flights[flights["dep_delay"].notna()]
        pipeline = notebook(made).fit()
        expected = pipeline.predict_proba(flights)
        pipeline.set_params(entry="departures")
        departures = made.frames("flight_delays/departures").read("2013-11-01")
        assert len(pipeline.predict_proba(departures)) == len(expected) == len(departures)

    def test_an_entry_beside_the_way_is_refused(self, made: Platform) -> None:
        with pytest.raises(PlatformError, match="rows cannot enter behind 'traffic': "):
            notebook(made, model="boosted").after("traffic").fit(made.frames("flight_delays/traffic").read_all())
