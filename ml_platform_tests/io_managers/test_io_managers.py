"""Each IO manager keeps its type of value and refuses others by name; what was there before stays."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from ml_platform.artifacts import ArtifactStore, Fitted, Frames, Report
from ml_platform.artifacts.reports import read_report
from ml_platform_tests.platform import failure_of, resources

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-01-01", end_date="2013-04-01")
KEYS = ["2013-01-01", "2013-02-01", "2013-03-01"]


class Sandbox:
    """Materializes one asset that returns a given value."""

    def __init__(self, folder: Path):
        self.resources = resources(folder)
        self.store = ArtifactStore(str(folder))

    def keep(self, value: Any, manager: str, partitions: list[str] | None = None) -> dg.ExecuteInProcessResult:
        @dg.asset(
            key=["t", "it"],
            io_manager_key=manager,
            partitions_def=MONTHS if partitions else None,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def it():
            return value

        tags = {}
        if partitions:
            tags = {
                "dagster/asset_partition_range_start": partitions[0],
                "dagster/asset_partition_range_end": partitions[-1],
            }
        return dg.materialize([it], resources=self.resources, tags=tags, raise_on_error=False)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


GOOD = {
    "frames": pd.DataFrame({"x": [1]}),
    "objects": StandardScaler().fit([[1.0], [2.0]]),
    "reports": Report({"x": 1}),
}


@pytest.mark.parametrize("manager", GOOD)
@pytest.mark.parametrize("wrong", [[1, 2], "text", 7, None, {"x": 1}], ids=str)
def test_a_value_of_another_type_is_refused_by_asset_and_type(sandbox: Sandbox, manager: str, wrong: Any) -> None:
    sandbox.keep(GOOD[manager], manager)
    before = sandbox.store.require("t/it")
    result = sandbox.keep(wrong, manager)
    assert not result.success
    found = "int" if wrong == {"x": 1} and manager == "frames" else type(wrong).__name__
    assert "ArtifactError: t/it" in failure_of(result)
    assert f"found {found}: " in failure_of(result)
    assert sandbox.store.require("t/it") == before


@pytest.mark.parametrize("manager", GOOD)
def test_a_value_of_another_manager_is_refused(sandbox: Sandbox, manager: str) -> None:
    for other, value in GOOD.items():
        assert sandbox.keep(value, manager).success == (other == manager)


def test_a_range_of_partitions_is_one_call_and_one_event_each_with_its_own_rows(sandbox: Sandbox) -> None:
    frames = {key: pd.DataFrame({"x": range(number)}) for number, key in enumerate(KEYS, 1)}
    result = sandbox.keep(frames, "frames", KEYS)
    events = result.asset_materializations_for_node("t__it")
    assert {e.partition: e.metadata["dagster/partition_row_count"].value for e in events} == dict(
        zip(KEYS, (1, 2, 3), strict=True)
    )
    assert len([event for event in result.all_events if event.is_handled_output]) == 1
    assert Frames.current(sandbox.store, "t/it", KEYS).read_all()["x"].tolist() == [0, 0, 1, 0, 1, 2]


def test_a_partition_that_the_asset_left_out_is_refused_and_none_is_made_current(sandbox: Sandbox) -> None:
    result = sandbox.keep({KEYS[0]: pd.DataFrame({"x": [1]})}, "frames", KEYS)
    assert "returned none for ['2013-02-01', '2013-03-01']" in failure_of(result)
    assert sandbox.store.partitions("t/it") == []


def test_a_partition_that_was_not_asked_for_is_refused_and_none_is_made_current(sandbox: Sandbox) -> None:
    frames = {key: pd.DataFrame({"x": [1]}) for key in KEYS}
    assert "the asset returned '2013-03-01' too" in failure_of(sandbox.keep(frames, "frames", KEYS[:2]))
    assert sandbox.store.partitions("t/it") == []


def test_one_frame_for_several_partitions_is_refused(sandbox: Sandbox) -> None:
    assert "one DataFrame for 3 partitions" in failure_of(sandbox.keep(GOOD["frames"], "frames", KEYS))


def test_an_asset_that_asks_for_a_dataframe_gets_one(sandbox: Sandbox) -> None:
    sandbox.keep({key: pd.DataFrame({"x": [key]}) for key in KEYS}, "frames", KEYS)
    source = dg.AssetSpec(["t", "it"], partitions_def=MONTHS).with_io_manager_key("frames")
    seen = []

    @dg.asset(ins={"it": dg.AssetIn(["t", "it"])})
    def reader(it: pd.DataFrame) -> None:
        seen.append(it)

    assert dg.materialize([reader, source], selection=[reader], resources=sandbox.resources).success
    assert seen[0]["x"].tolist() == KEYS


def test_facts_about_a_fit_travel_with_the_object(sandbox: Sandbox) -> None:
    assert sandbox.keep(Fitted.of(GOOD["objects"], {"rows_fit": 2}), "objects").success
    assert sandbox.store.require("t/it").facts == {"rows_fit": 2}


def test_a_report_is_facts_pictures_and_a_page(sandbox: Sandbox) -> None:
    result = sandbox.keep(Report({"x": 1}, {"roc": b"png"}, "<html>"), "reports")
    artifact = sandbox.store.require("t/it")
    folder = sandbox.store.open(artifact)
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "roc.png"]
    assert read_report(sandbox.store, artifact).facts == {"x": 1}
    shown = result.asset_materializations_for_node("t__it")[0].metadata["report"].value
    assert shown == str(folder / "report.html")
