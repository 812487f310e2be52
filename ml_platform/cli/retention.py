"""Frees what nothing needs any more: values, versions and cache keys of the store, launches, logs of local runs."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from ml_platform.artifacts.backends import open_backend
from ml_platform.artifacts.home import dagster_home, default_base
from ml_platform.artifacts.retention import Count, Sweep
from ml_platform.cli.launches import instance_here
from ml_platform.cli.routes import instance_file
from ml_platform.errors import PlatformError
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.retention import Removed, Unfinished, remove_launches, remove_logs, unfinished_in
from ml_platform.launchers.sizes import format_bytes

_SECONDS = {"h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_NAMES = {
    "heads": "current versions", "values": "values, with their files", "versions": "manifests of versions",
    "cache_entries": "cache entries", "leftovers": "leftovers of killed writers", "launches": "launches",
    "logs": "logs of local runs",
}  # fmt: skip


@dataclass
class Freed:
    """What was removed, or would be.

    Attributes:
        since: what was used since then stays.
        counts: by kind of thing.
    """

    store: str
    since: datetime
    is_dry: bool
    counts: dict[str, Count] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        counts = {kind: asdict(count) for kind, count in self.counts.items()}
        return {
            "store": self.store, "since": self.since.isoformat(), "dry_run": self.is_dry, "counts": counts,
            "freed_bytes": sum(count.freed_bytes for count in self.counts.values()), "remarks": self.remarks,
        }  # fmt: skip


def seconds_of(text: str) -> float:
    """Reads a time such as `30d`.

    Raises:
        PlatformError: it is none, or less than an hour, in which work may be under way that nobody knows of.

    >>> seconds_of("12h"), seconds_of("2w")
    (43200.0, 1209600.0)
    """
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if match is None:
        raise PlatformError(
            f"--keep {text}: expected a whole number from 1 with h (hours), d (days) or w (weeks), such as 30d or 12h"
        )
    return int(match[1]) * _SECONDS[match[2]]


def free(keep: str, *, is_dry: bool, is_shown: bool) -> Freed:
    """Removes what nothing needs and nobody used for a time.

    Args:
        keep: for how long, such as `30d`.
        is_shown: whether to show what it is at, to people who wait.
    """
    now, base = time.time(), default_base()
    since = now - seconds_of(keep)
    backend = open_backend(base)
    with _instance() as instance, _progress(is_shown) as report:
        unfinished = [] if instance is None else unfinished_in(instance)
        began = min([since, *(one.began for one in unfinished if one.began is not None)])
        freed = Freed(base, datetime.fromtimestamp(began, UTC), is_dry, remarks=_remarks(unfinished, since))
        swept = Sweep(backend, base, began, now, is_dry=is_dry, report=report).run()
        freed.counts |= swept.counts
        freed.remarks += swept.remarks
        if instance is None:
            freed.remarks.append(f"no Dagster instance in {dagster_home()}: launches, logs and runs were not looked at")
            return freed
        report("launches and logs")
        freed.counts["launches"] = _count(remove_launches(Launches.of(instance), since, unfinished, is_dry=is_dry))
        freed.counts["logs"] = _count(remove_logs(instance, since, unfinished, is_dry=is_dry))
    return freed


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance | None]:
    """Opens the instance, if there is one: a notebook's store needs none."""
    if not instance_file().is_relative_to(dagster_home()):
        yield None
        return
    with instance_here() as instance:
        yield instance


@contextmanager
def _progress(is_shown: bool) -> Iterator[Callable[[str], None]]:
    with Status("", console=Console(stderr=True, quiet=not is_shown)) as status:
        yield lambda text: status.update(escape(text))


def _remarks(unfinished: Sequence[Unfinished], since: float) -> list[str]:
    old = [one for one in unfinished if one.began is not None and one.began < since]
    return [
        f"run {one.run_id[:8]} is under way since {datetime.fromtimestamp(one.began or 0.0, UTC):%Y-%m-%d %H:%M}: "
        "what was used since then stays; terminate it if nothing is at it"
        for one in old
    ]


def _count(removed: Removed) -> Count:
    return Count(removed.kept, removed.deleted, 0, removed.freed_bytes)


def print_freed(freed: Freed, console: Console | None = None) -> None:
    """Prints a line for each kind of thing, then the sum."""
    console = console or Console()
    waits = any(count.waiting for count in freed.counts.values())
    columns = ["what", "kept", "to delete" if freed.is_dry else "deleted", *(["waiting"] if waits else []), "bytes"]
    table = Table(title=f"not used since {freed.since:%Y-%m-%d %H:%M} UTC", title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "what" else "right")
    for kind, count in freed.counts.items():
        waiting = [f"{count.waiting:,}"] if waits else []
        size = _size_text(count.freed_bytes) if count.freed_bytes else ""
        table.add_row(_NAMES[kind], f"{count.kept:,}", f"{count.deleted:,}", *waiting, size)
    console.print(table)
    total = _size_text(sum(count.freed_bytes for count in freed.counts.values()))
    said = "would be freed; nothing was deleted" if freed.is_dry else "were freed"
    console.print(f"{total} {said} in {escape(freed.store)}", soft_wrap=True, highlight=False)
    if waits:
        console.print("what waits is deleted by the first gc a day after the one that found it unneeded")
    for remark in freed.remarks:
        console.print(f"[yellow]note[/]: {escape(remark)}", soft_wrap=True, highlight=False)


def _size_text(size_bytes: int) -> str:
    return format_bytes(size_bytes) if size_bytes >= 2**20 else f"{size_bytes:,} bytes"
