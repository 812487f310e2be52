"""Copies a Dagster instance from SQLite into a PostgreSQL database, whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as db
from sqlalchemy.pool import NullPool

from ml_platform.cli.launches import instance_here
from ml_platform.compat.dagster import NOT_FINISHED_STATUSES
from ml_platform.compat.dagster_event_log import SqlEventLogStorageMetadata
from ml_platform.compat.dagster_storage import RunStorageSqlMetadata, ScheduleStorageSqlMetadata
from ml_platform.errors import PlatformError
from ml_platform.launchers.leases.schema import LAUNCHES
from ml_platform.launchers.leases.table import Launches

# Where `resources/dagster.yaml` keeps what; the names of Dagster's tables are its own.
FILES = {
    "history/runs.db": [*RunStorageSqlMetadata.sorted_tables, LAUNCHES],
    "storage/event_log.db": SqlEventLogStorageMetadata.sorted_tables,
    "schedules/schedules.db": ScheduleStorageSqlMetadata.sorted_tables,
}
_MIGRATIONS = "secondary_indexes"  # which of Dagster's migrations of data were done; each storage has such a table
_OWN = {_MIGRATIONS, "daemon_heartbeats", "instance_info"}  # what stays the target's own
_BATCH = 1_000


def copy_here(folder: Path) -> dict[str, int]:
    """Copies runs, events, schedules' and sensors' states and launches into this instance's empty database.

    Rows keep their numbers, so that what sensors and conditions have seen stays seen.

    Args:
        folder: the other instance's `DAGSTER_HOME`; nobody may be at work on it.

    Returns:
        The number of rows of each table.

    Raises:
        PlatformError: files are missing or of another version, runs are under way, or there are runs here already.
    """
    with instance_here() as instance, _opened(folder) as sources:
        launches = Launches.of(instance)
        if not launches.url.startswith("postgresql"):
            raise PlatformError(f"{launches.place}: expected an instance whose storage is PostgreSQL")
        launches.migrate()
        _require_quiet(folder, sources["history/runs.db"])
        with db.create_engine(launches.url, poolclass=NullPool).begin() as target:
            _require_migrated(folder, sources, target)
            _require_empty(launches.place, target)
            return {
                table.name: _copy(table, sources[file], target)
                for file, tables in FILES.items()
                for table in tables
                if table.name not in _OWN
            }


@contextmanager
def _opened(folder: Path) -> Iterator[Mapping[str, db.Connection]]:
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise PlatformError(
            f"{folder}: no instance with KeptEngineSqliteEventLogStorage, as `make setup` makes one; missing: "
            + ", ".join(missing)
        )
    with ExitStack() as stack:
        connections = {}
        for file in FILES:
            engine = db.create_engine(f"sqlite:///file:{folder / file}?mode=ro&uri=true", poolclass=NullPool)
            connections[file] = stack.enter_context(engine.connect())
        yield connections


def _require_quiet(folder: Path, runs: db.Connection) -> None:
    table = RunStorageSqlMetadata.tables["runs"]
    unfinished = [status.value for status in NOT_FINISHED_STATUSES]
    found = runs.execute(db.select(table.c.run_id).where(table.c.status.in_(unfinished))).scalars().all()
    if found:
        raise PlatformError(f"{folder}: runs are not finished: {', '.join(found)}; end them, then copy")


def _require_migrated(folder: Path, sources: Mapping[str, db.Connection], target: db.Connection) -> None:
    open_ones = [
        f"{table.name}.{column.name} in {file}"
        for file, tables in FILES.items()
        for table in tables
        for column in table.columns
        if column.name not in _columns_in(sources[file], table.name)
    ]
    done: db.Select = db.select(db.column("name")).select_from(db.table(_MIGRATIONS))
    known = {name for source in sources.values() for name in source.execute(done).scalars()}
    open_ones += sorted(set(target.execute(done).scalars()) - known)
    if open_ones:
        raise PlatformError(
            f"{folder}: of an older version, without {', '.join(open_ones)}; run: DAGSTER_HOME={folder} "
            f"dagster instance migrate; DAGSTER_HOME={folder} ml-platform launches migrate"
        )


def _columns_in(source: db.Connection, table: str) -> set[str]:
    return {row[1] for row in source.exec_driver_sql(f"PRAGMA table_info({table})")}


def _require_empty(place: str, target: db.Connection) -> None:
    for table in (RunStorageSqlMetadata.tables["runs"], SqlEventLogStorageMetadata.tables["event_logs"], LAUNCHES):
        if target.execute(db.select(db.literal(1)).select_from(table).limit(1)).first():
            raise PlatformError(f"{place}: {table.name} is not empty; expected an instance without runs")


def _copy(table: db.Table, source: db.Connection, target: db.Connection) -> int:
    target.execute(table.delete())  # of what an idle daemon notes
    number = 0
    found = source.execution_options(yield_per=_BATCH).execute(db.select(*table.columns))
    for rows in found.mappings().partitions():
        # By column: those of the launch table are stored under other names than they are written by.
        target.execute(table.insert(), [{column.key: row[column] for column in table.columns} for row in rows])
        number += len(rows)
    key = table.primary_key.columns.values()[0]
    if isinstance(key.type, db.Integer) and number:
        largest = db.select(db.func.max(key)).scalar_subquery()
        target.execute(db.select(db.func.setval(db.func.pg_get_serial_sequence(table.name, key.name), largest)))
    return number
