"""The event log that the local deployment uses behaves as Dagster's own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db

from ml_platform.storages.sqlite import KeptEngineSqliteEventLogStorage
from ml_platform_tests.platform import open_instance

RUN_ID = "00000000-0000-0000-0000-000000000001"
MONTHS = dg.StaticPartitionsDefinition([f"p{number}" for number in range(30)])


@dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def thing() -> None: ...


def materialize(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": "p0", "dagster/asset_partition_range_end": "p29"}
    return dg.materialize([thing], instance=instance, tags=tags)


def test_dagster_yaml_opens_it_in_wal_mode_and_it_keeps_one_engine(tmp_path: Path) -> None:
    with open_instance(tmp_path / "home") as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, KeptEngineSqliteEventLogStorage)
        assert materialize(instance).success
        assert storage._kept_engine() is storage._kept_engine()
        with storage.index_connection() as connection:
            assert connection.execute(db.text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(db.text("PRAGMA synchronous")).scalar() == 1


def test_events_written_by_one_process_are_read_by_another(tmp_path: Path) -> None:
    with open_instance(tmp_path / "home") as instance:
        materialize(instance)
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert instance.get_materialized_partitions(thing.key) == set(MONTHS.get_partition_keys())


@dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def versioned(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"data_version": f"version of {key}"}, partition_key=key)


def test_each_partition_of_a_run_has_its_own_data_version(tmp_path: Path) -> None:
    """Dagster itself would tag all of them alike."""
    tags = {"dagster/asset_partition_range_start": "p0", "dagster/asset_partition_range_end": "p29"}
    with open_instance(tmp_path / "home") as instance:
        assert dg.materialize([versioned], instance=instance, tags=tags).success
        for key in ("p0", "p17"):
            record = instance.get_latest_data_version_record(versioned.key, partition_key=key)
            assert record is not None
            assert record.asset_materialization.tags["dagster/data_version"] == f"version of {key}"


@dg.asset_check(asset=versioned)
def is_fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def kept_of(storage: Any) -> dict[str, list[Any]]:
    """Reads what a log's tables hold, without what differs between any two runs."""
    queries = {
        "events": "SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs ORDER BY 1, 2, 3, 4",
        "assets": "SELECT asset_key, last_run_id, last_materialization IS NULL, last_materialization_timestamp IS NULL FROM asset_keys ORDER BY 1",
        "tags": "SELECT asset_key, key, value FROM asset_event_tags WHERE key = 'dagster/data_version' ORDER BY 1, 2, 3",
        "checks": "SELECT asset_key, check_name, execution_status FROM asset_check_executions ORDER BY 1, 2, 3",
    }
    with storage._connect() as connection:
        return {name: [tuple(row) for row in connection.execute(db.text(query))] for name, query in queries.items()}


def test_batches_leave_what_single_events_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of a run is one batch over several assets and checks, its materializations are one for each asset."""
    tags = {"dagster/asset_partition_range_start": "p0", "dagster/asset_partition_range_end": "p29"}
    found, batches = {}, list[int]()
    store = KeptEngineSqliteEventLogStorage.store_event_batch

    def count(storage: KeptEngineSqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        batches.append(len(events))
        store(storage, events)

    monkeypatch.setattr(KeptEngineSqliteEventLogStorage, "store_event_batch", count)
    for size in ("0", "1000"):
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", size)
        with open_instance(tmp_path / size) as instance:
            definitions = dg.Definitions(assets=[thing, versioned], asset_checks=[is_fine])
            job = definitions.resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(instance=instance, tags=tags, run_id=RUN_ID)
            assert result.success
            found[size] = kept_of(instance.event_log_storage)
            last = instance.get_latest_materialization_event(versioned.key)
            assert last is not None
            newest = instance.fetch_materializations(versioned.key, limit=1).records[0]
            assert last.asset_materialization == newest.asset_materialization
    assert found["0"] == found["1000"]
    assert [row[1] for row in found["0"]["assets"]] == [RUN_ID, RUN_ID]
    assert batches == [61, 30, 30]


def test_who_opens_it_gets_batches_unless_somebody_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    with open_instance(tmp_path / "home") as instance:
        assert instance.event_log_storage
        assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "1000"
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    with open_instance(tmp_path / "other") as instance:
        assert instance.event_log_storage
        assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "0"


def test_threads_share_it(tmp_path: Path) -> None:
    with open_instance(tmp_path / "home") as instance:

        def report() -> None:
            for key in MONTHS.get_partition_keys():
                instance.report_runless_asset_event(dg.AssetMaterialization(thing.key, partition=key))

        threads = [threading.Thread(target=report, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a thread waits for ever"
        assert len(instance.fetch_materializations(thing.key, limit=1000).records) == 4 * 30


def test_a_killed_process_loses_no_event_that_it_reported(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from ml_platform_tests.platform import open_instance
from ml_platform_tests.storages.test_sqlite import materialize
instance = open_instance(Path({str(tmp_path / "home")!r}))
materialize(instance)
print("done", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        os.kill(process.pid, signal.SIGKILL)
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert len(instance.get_materialized_partitions(thing.key)) == 30
