"""Removes launches, and logs of local runs, that are old and that no run needs any more."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as db
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from ml_platform.compat.dagster import NOT_FINISHED_STATUSES
from ml_platform.launchers.leases.schema import LAUNCHES, C
from ml_platform.launchers.leases.table import Launches

_BEFORE_IT_BEGINS = {DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED}
_LOG = re.compile(r"([0-9a-f-]{36})\.log")


@dataclass(frozen=True)
class Unfinished:
    """A run that is not over.

    Attributes:
        began: when it may first have used anything, in seconds since the epoch; None: it waits to begin.
    """

    run_id: str
    root_run_id: str
    began: float | None


@dataclass
class Removed:
    """Counts what was removed, or would be, and what stays."""

    kept: int = 0
    deleted: int = 0
    freed_bytes: int = 0


def unfinished_in(instance: DagsterInstance) -> list[Unfinished]:
    """Lists the runs that are not over."""
    found = instance.get_run_records(RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
    return [
        Unfinished(
            record.dagster_run.run_id,
            record.dagster_run.root_run_id or record.dagster_run.run_id,
            None if record.dagster_run.status in _BEFORE_IT_BEGINS else record.create_timestamp.timestamp(),
        )
        for record in found
    ]


def remove_launches(
    launches: Launches, since: float, unfinished: Collection[Unfinished], *, is_dry: bool = False
) -> Removed:
    """Removes launches of work that was over before a moment.

    All launches of a run and of those that try it again stay while one of them is open or young, as escalation counts
    them, or while one of these runs is not over. So does the newest of each launcher: it says that the reconciler has
    to look for orphans there.
    """
    roots = {one.root_run_id for one in unfinished} | {one.run_id for one in unfinished}
    young = db.select(C.root_run_id).where(C.released.is_(None) | (C.released >= since))
    newest = db.select(db.func.max(C.intended)).group_by(C.launcher)
    last = db.select(C.root_run_id).where(C.intended.in_(newest))
    old = (C.root_run_id.not_in(young), C.root_run_id.not_in(last), C.root_run_id.not_in(roots))
    ((number, gone),) = launches.read(
        db.select(
            db.select(db.func.count()).select_from(LAUNCHES).scalar_subquery(),
            db.select(db.func.count()).select_from(LAUNCHES).where(*old).scalar_subquery(),
        )
    )
    # The conditions again, not the rows that were counted: a run may have been tried again since.
    if gone and not is_dry:
        launches.write(db.delete(LAUNCHES).where(*old))
    return Removed(number - gone, gone)


def remove_logs(
    instance: DagsterInstance, since: float, unfinished: Collection[Unfinished], *, is_dry: bool = False
) -> Removed:
    """Removes what processes of local runs printed, where nothing was printed since a moment and the run is over."""
    folder, removed = Path(instance.root_directory) / "launchers", Removed()
    going_on = {one.run_id for one in unfinished}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _LOG.fullmatch(path.name)
        with suppress(FileNotFoundError):  # whoever launched the run lets its log go as well
            status = path.lstat()
            if match is None or match[1] in going_on or status.st_mtime >= since:
                removed.kept += 1
                continue
            if not is_dry:
                path.unlink()
            removed.deleted += 1
            removed.freed_bytes += status.st_size
    return removed
