"""The event log that the local deployment uses behaves as Dagster's own."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import sqlalchemy as db

from ml_platform.resources.event_log import KeptEngineSqliteEventLogStorage
from ml_platform_tests.platform import open_instance

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
from ml_platform_tests.resources.test_event_log import materialize
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
