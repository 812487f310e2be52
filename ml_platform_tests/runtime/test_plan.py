"""What a run would do and why, told before; and that the run does just that."""

import importlib
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ml_platform.cli.plan import print_plan
from ml_platform.pipeline import load_pipeline
from ml_platform.runtime.plan import RECOMPUTE, REUSE, Planned, plan
from ml_platform_tests import lake, tiers
from ml_platform_tests.platform import Platform, small_yaml

STEPS = """
import userlib
from ml_platform.transformers import Calendar
from user_steps.helpers import shifted


class Shifted(Calendar):
    def transform(self, X):
        return shifted(super().transform(X))


class Labelled(Calendar):
    depends_on_threads = False

    def transform(self, X):
        return super().transform(X).assign(label=userlib.LABEL)
"""
HELPERS = """
def shifted(frame):
    # moves the day
    return frame.assign(day_of_week=frame["day_of_week"] + 0)


def stranger():
    return 1
"""
OWN = ("uses: ml_platform.transformers.Calendar", "uses: user_steps.steps.Shifted")


class UserSteps:
    """A data scientist's own package on the path, with a library that is installed beside it."""

    def __init__(self, folder: Path):
        self.folder = folder / "user_steps"
        self.library = folder / "site-packages"
        self.folder.mkdir()
        (self.folder / "__init__.py").write_text("")
        (self.folder / "steps.py").write_text(STEPS)
        (self.folder / "helpers.py").write_text(HELPERS)
        self.install("1.0")

    def install(self, version: str) -> None:
        for path in self.library.glob("*.dist-info/*"):
            path.unlink()
        for path in self.library.glob("*.dist-info"):
            path.rmdir()
        info = self.library / f"userlib-{version}.dist-info"
        info.mkdir(parents=True)
        (self.library / "userlib.py").write_text("LABEL = 'same'\n")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: userlib\nVersion: {version}\n")
        (info / "top_level.txt").write_text("userlib\n")
        (info / "RECORD").write_text("userlib.py,,\n")

    def edit(self, old: str, new: str) -> None:
        """Edits the helpers and lets this process take them, as a new process would."""
        path = self.folder / "helpers.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        importlib.invalidate_caches()
        for name in ("user_steps.helpers", "user_steps.steps"):
            if name in sys.modules:
                importlib.reload(sys.modules[name])


def steps_in(folder: Path, patch: pytest.MonkeyPatch) -> UserSteps:
    steps = UserSteps(folder)
    patch.syspath_prepend(str(folder))
    patch.syspath_prepend(str(steps.library))
    for name in ("user_steps", "user_steps.steps", "user_steps.helpers", "userlib"):
        patch.delitem(sys.modules, name, raising=False)
    patch.setattr(sys, "dont_write_bytecode", True)
    return steps


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserSteps:
    return steps_in(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory, made: Platform) -> Platform:
    """A run with the steps of a user, in another folder than any test's: what is reused does not hang on where they lie."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "platform").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        steps_in(folder, patch)
        platform = Platform(folder / "platform", small_yaml(OWN), seed=made)
        assert platform.run().success
    platform.instance.dispose()
    return platform


@pytest.fixture
def ran(tmp_path: Path, ran_once: Platform, own: UserSteps) -> Platform:
    return Platform(tmp_path / "platform", small_yaml(OWN), seed=ran_once)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "platform").mkdir()


def planned(platform: Platform, text: str | None = None) -> dict[str, Planned]:
    platform.declare(text or (platform.folder / "pipeline.yaml").read_text())
    return {one.asset.removeprefix("flight_delays/"): one for one in plan(platform.pipeline, platform.store)}


def recomputed(plan_of: dict[str, Planned]) -> dict[str, list[str]]:
    """Returns what is recomputed for a reason of its own."""
    return {
        name: reasons
        for name, one in plan_of.items()
        if one.action == "recompute" and (reasons := [reason for reason in one.why if not reason.startswith("after ")])
    }


def run(platform: Platform) -> dict[str, int]:
    """Runs everything, and counts the partitions of each asset that had to be computed."""
    result = platform.run()
    assert result.success
    counts: dict[str, int] = {}
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            name = made.asset_key.to_user_string().removeprefix("flight_delays/")
            counts[name] = counts.get(name, 0) + (not made.metadata["reused"].value)
    return {name: count for name, count in counts.items() if count}


AFTER_CALENDAR = {
    "calendar", "weather_before", "shares_fitted", "shares", "codes_fitted", "codes", "logistic", "boosted",
    "selection", "evaluation", "approved", "predictions",
}  # fmt: skip


def test_nothing_changed_nothing_recomputed(ran: Platform) -> None:
    assert {one.action for one in planned(ran).values()} == {"reuse"}
    assert run(ran) == {}


@pytest.mark.full
def test_a_comment_changed_nothing_recomputed(ran: Platform, own: UserSteps) -> None:
    own.edit("# moves the day", "# moves the day, or does not")
    own.edit("return 1", "return 2")
    assert {one.action for one in planned(ran).values()} == {"reuse"}
    assert run(ran) == {}


def test_a_changed_helper_recomputes_exactly_its_step_and_an_equal_output_stops_the_wave(
    ran: Platform, own: UserSteps
) -> None:
    own.edit('frame["day_of_week"] + 0', '0 + frame["day_of_week"]')
    found = planned(ran)
    line = f"{own.folder}/helpers.py:2 shifted changed"
    assert recomputed(found) == {"calendar": [line]}
    assert {name for name, one in found.items() if one.action == "recompute"} == AFTER_CALENDAR
    assert found["weather_before"].why == ["after flight_delays/calendar"]
    assert found["calendar"].partitions == {"reuse": 0, "recompute": 12}
    assert found["calendar"].seconds is not None
    assert run(ran) == {"calendar": 12}
    assert {one.action for one in planned(ran).values()} == {"reuse"}


@pytest.mark.full
def test_a_changed_helper_with_another_output_recomputes_what_depends_on_it(ran: Platform, own: UserSteps) -> None:
    own.edit('frame["day_of_week"] + 0', 'frame["day_of_week"] + 1')
    counts = run(ran)
    assert set(counts) <= AFTER_CALENDAR
    assert {"calendar", "weather_before", "codes", "logistic", "boosted"} <= set(counts)


@pytest.mark.full
def test_a_changed_library_recomputes_what_comes_from_it(tmp_path: Path, made: Platform, own: UserSteps) -> None:
    text = small_yaml((OWN[0], "uses: user_steps.steps.Labelled"))
    platform = Platform(tmp_path / "platform", text, seed=made)
    assert run(platform)
    own.install("1.1")
    assert recomputed(planned(platform)) == {"calendar": ["userlib 1.0 → 1.1"]}
    assert run(platform) == {"calendar": 12}


@pytest.mark.full
def test_code_that_was_edited_under_a_running_process_is_refused(ran: Platform, own: UserSteps) -> None:
    before = ran.digests()
    importlib.import_module("user_steps.steps")
    path = own.folder / "helpers.py"
    path.write_text(HELPERS.replace("+ 0", "+ 2"))
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    ran.declare(small_yaml(OWN))
    result = ran.run()
    assert not result.success
    from ml_platform_tests.platform import failure_of

    assert "helpers.py was changed after this process imported it" in failure_of(result)
    assert ran.digests() == before


CHANGED_PARAMETERS = [
    (("max_leaf_nodes: 15", "max_leaf_nodes: 31"), "boosted", "max_leaf_nodes: 15 → 31"),
    (("max_iter: 300", "max_iter: 301"), "logistic", "steps.classify.max_iter: 300 → 301"),
    (("t.planned_departures\n        FROM", "2 * t.planned_departures AS planned_departures\n        FROM"), "route", "query: "),
    (("lag_hours: 1", "lag_hours: 2"), "weather_before", "lag_hours: 1 → 2"),
    (("by: [month, origin]", "by: [month]"), "evaluation", "by: ['month', 'origin'] → ['month']"),
    (("test: 3 months", "test: 2 months"), "boosted", "split.test_from: '2013-10-01' → '2013-11-01'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "step", "reason"), tiers.cases("changed parameters", CHANGED_PARAMETERS), ids=lambda case: str(case)[:24]
)
def test_a_changed_parameter_is_named(
    made: Platform, edit: tuple[str, str], step: str, reason: str, tmp_path: Path
) -> None:
    edited = Platform(tmp_path / "platform", small_yaml(edit))
    found = {one.asset.removeprefix("flight_delays/"): one for one in plan(edited.pipeline, made.store)}
    assert found[step].action == "recompute"
    assert any(why.startswith(reason) for why in found[step].why), found[step].why
    assert found["departures"].action == "reuse"


def test_threads_count_where_bytes_depend_on_them(made: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_platform.runtime.environment import thread_count

    before = thread_count()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before + 1))
    own = recomputed({one.asset: one for one in plan(made.pipeline, made.store)})
    reason = f"environment.threads: {before} → {before + 1}"
    assert own["flight_delays/boosted"] == [reason]
    assert own["flight_delays/codes_fitted"] == [reason]
    assert not {"flight_delays/departures", "flight_delays/calendar", "flight_delays/shares", "lake/flights"} & set(own)


@pytest.mark.full
def test_a_corrected_partition_recomputes_itself_and_what_depends_on_it(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path / "platform", seed=made)
    run(platform)
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    lines = lake.FLIGHTS.path.read_text().splitlines(keepends=True)
    dropped = next(number for number, line in enumerate(lines) if line.startswith("2013,11,"))
    (corrected / "flights.csv").write_text("".join(lines[:dropped] + lines[dropped + 1 :]))
    platform.tables = [replace(t, folder=corrected) if t.name == "flights" else t for t in lake.TABLES]
    counts = run(platform)
    monthly = ("departures", "traffic", "route", "aircraft", "calendar", "weather_before", "shares", "codes")
    # The file is read again as a whole; November alone comes out otherwise, and no training row with it.
    expected = {"lake/flights": 12, **dict.fromkeys(monthly, 1), "evaluation": 1, "approved": 1}
    dropped_was_late_or_not = {name: count for name, count in counts.items() if name not in ("predictions",)}
    assert dropped_was_late_or_not == expected
    assert counts.get("predictions", 0) == 1


def test_a_pipeline_that_never_ran_says_so(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "platform")
    found = plan(platform.pipeline, platform.store)
    assert {tuple(one.why) for one in found} == {("never made",)}
    assert {one.seconds for one in found} == {None}
    assert list(Path(platform.store.base).glob("**/*.json")) == []


@pytest.mark.full
def test_what_lost_its_files_is_planned_and_made_again(made: Platform, tmp_path: Path) -> None:
    import shutil

    platform = Platform(tmp_path / "platform", seed=made)
    digest = platform.store.require("flight_delays/codes", "2013-04-01").digest
    shutil.rmtree(Path(platform.store.base) / "objects" / digest[:2] / digest)
    one = planned(platform)["codes"]
    assert (one.partitions, one.why) == ({"reuse": 11, "recompute": 1}, ["what it gave before is gone or damaged"])
    assert run(platform) == {"codes": 1}
    assert platform.digests() == made.digests()


@pytest.mark.full
def test_a_parameter_that_cannot_be_told_is_made_anew_each_time(tmp_path: Path, made: Platform) -> None:
    from sklearn.preprocessing import FunctionTransformer

    from ml_platform import Pipeline

    platform = Platform(tmp_path / "platform", seed=made)
    run(platform)
    odd = FunctionTransformer(lambda frame: frame, feature_names_out="one-to-one")
    pipeline = Pipeline.load(platform.folder / "pipeline.yaml", store=platform.store, verbose=False)
    pipeline.set_params(codes=odd)
    found = {one.asset: one for one in plan(pipeline.compiled, platform.store)}
    assert found["flight_delays/codes"].why == [
        "made anew each time: a parameter or a global of its code cannot be told"
    ]
    assert found["flight_delays/shares"].action == "reuse"


class TestInDagster:
    """What Dagster knows of reused values."""

    @pytest.mark.full
    def test_a_second_run_materializes_the_same_address_and_data_version(self, tmp_path: Path, made: Platform) -> None:
        import dagster as dg

        platform = Platform(tmp_path / "platform", seed=made)
        run(platform)
        keys = [key for key in platform.definitions.resolve_all_asset_keys() if key.path[-1] != "airlines"]
        before = {key: versions(platform, key) for key in keys}
        last = max(
            record.storage_id
            for key in keys
            for record in platform.instance.fetch_materializations(key, limit=24).records
        )
        assert run(platform) == {}
        assert {key: versions(platform, key) for key in keys} == before
        storage = platform.instance.event_log_storage
        months = platform.pipeline.features.spans.keys
        for key in (dg.AssetKey(["lake", "flights"]), dg.AssetKey(["flight_delays", "codes"])):
            newer = platform.instance.fetch_materializations(
                dg.AssetRecordsFilter(key, after_storage_id=last), limit=99
            )
            assert len(newer.records) == 12
            assert list(storage.get_updated_data_version_partitions(key, months, last)) == []
        assert (
            next(iter(before[dg.AssetKey(["flight_delays", "boosted"])].values()))
            == platform.store.require("flight_delays/boosted").digest
        )

    @pytest.mark.full
    def test_the_ui_calls_all_of_it_fresh_until_code_changes(self, tmp_path: Path, made: Platform) -> None:
        platform = Platform(tmp_path / "platform", seed=made)
        run(platform)
        assert set(statuses(platform).values()) == {"FRESH"}
        platform.declare(small_yaml(("learning_rate: 0.05", "learning_rate: 0.06")))
        assert {name for name, status in statuses(platform).items() if status != "FRESH"} >= {"flight_delays/boosted"}
        assert statuses(platform)["flight_delays/logistic"] == "FRESH"


def versions(platform: Platform, key: object) -> dict[str | None, str]:
    records = platform.instance.fetch_materializations(key, limit=24).records  # type: ignore[arg-type]
    found: dict[str | None, str] = {}
    for record in records:
        tags = record.asset_materialization.tags
        found.setdefault(record.partition_key, tags["dagster/data_version"])
    return found


def statuses(platform: Platform) -> dict[str, str]:
    """Asks Dagster, as its UI does, whether assets are as their code and inputs would make them."""
    from ml_platform_tests.dagster_internals import AssetGraphView, CachingStaleStatusResolver

    graph = platform.definitions.resolve_asset_graph()
    view = AssetGraphView.for_test(platform.definitions, platform.instance)
    resolver = CachingStaleStatusResolver(platform.instance, graph, view)
    found = {}
    for node in graph.asset_nodes:
        partition = "2013-05-01" if node.partitions_def else None
        found[node.key.to_user_string()] = resolver.get_status(node.key, partition).value
    return found


def test_the_command_tells_the_same(
    made: Platform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_platform.cli import main

    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", made.store.base)
    path = str(made.folder / "pipeline.yaml")

    def told(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["plan", path, *arguments])
        return capsys.readouterr().out

    every = json.loads(told("--json"))
    assert [one["asset"] for one in every][:2] == ["lake/flights", "lake/weather"]
    assert {one["action"] for one in every} == {"reuse"}
    assert set(every[0]) == {"asset", "action", "partitions", "why", "launcher", "seconds", "shared_with"}
    assert "20 to reuse, 0 to recompute" in told().replace("21 to reuse", "20 to reuse")
    shown = told("--as-of", "2013-09-01")
    assert "recompute  flight_delays/boosted" in shown
    assert "split.as_of: '2014-01-01' → '2013-09-01'" in shown
    assert "what comes after a recomputed asset is reused all the same" in shown


def test_a_variant_reuses_what_is_its_parents_and_says_whose_it_was(tmp_path: Path, made: Platform) -> None:
    path = tmp_path / "variant.yaml"
    parent, change = (
        made.folder / "pipeline.yaml",
        "models: {boosted: {with: {max_leaf_nodes: 13}}}",
    )  # as in no other test: they share the store
    path.write_text(f"pipeline: variant\nextends: {parent}\n{change}\n")
    planned = {one.asset: one for one in plan(load_pipeline(path), made.store)}
    for step in ("departures", "shares_fitted", "codes", "logistic"):
        one = planned[f"variant/{step}"]
        assert (one.action, one.shared_with) == (REUSE, [f"flight_delays/{step}"])
    assert planned["lake/flights"].shared_with == []
    todo = [one.asset for one in planned.values() if one.action == RECOMPUTE]
    assert todo == [f"variant/{name}" for name in ("boosted", "selection", "evaluation", "approved", "predictions")]
    console = Console(file=io.StringIO(), width=200)
    print_plan(list(planned.values()), console)
    shown = console.file.getvalue()
    assert "12 of 21 assets are shared by cache key with flight_delays" in shown
    assert "made by flight_delays/codes_fitted" in shown
