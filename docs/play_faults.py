"""Plays every fault on this project's launchers and on Dagster's own; writes docs/faults.md.

It takes half an hour on two cores: what is lost on the stock launcher is waited for.
"""

import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count, product
from pathlib import Path
from typing import Any

from ml_platform_tests.crashes import KILLED, NOTED
from ml_platform_tests.launchers.case_run import Played, databases, double_starts, play, play_all, play_with_outages
from ml_platform_tests.launchers.cases import Case, cases
from ml_platform_tests.launchers.kill_cases import kill_cases, stock_plays, whole_platform_cases
from ml_platform_tests.launchers.outage_cases import outage_cases
from ml_platform_tests.launchers.world import world_in
from ml_platform_tests.postgres import Postgres

PAGE = Path(__file__).parent / "faults.md"
KILLED_ROW = "; killed before each of its effects"
TWICE = 50  # runs that are started twice
Rows = dict[str, list[Played]]
INTRODUCTION = """# Faults

What becomes of a run when something goes wrong around it: with this project's launchers, and with Dagster's own
(`K8sRunLauncher`, `QueuedRunCoordinator`, run monitoring with three resumes) on the same stand-in for a cluster, the
same faults, on PostgreSQL. `python docs/play_faults.py` (in `make soak`) plays all of it and writes this page;
`make test-all` plays ours, half of the cases on SQLite, of kills and outages some, and `make soak` all of them on both.

*As expected* means: the run came to its end, no two processes did its work at a time, it was not done twice, and no pod
was left. Work that a killed process had begun is begun again; a run whose work cannot be done fails. The stock platform
executes steps in the run's pod here, has no reconciler, and fewer effects: what it does not meet is not counted.
"""


def main(only: Sequence[str]) -> None:
    """Plays what was named (`faults`, `kills`, `outages`, `twice`), or all; writes the page if all."""
    parts = {
        "faults": lambda where, storages, is_stock: grouped(play_all(cases(), where, storages, is_stock=is_stock)),
        "kills": kills,
        "twice": lambda where, storages, is_stock: double_starts(where, storages[0], TWICE, is_stock=is_stock),
        "outages": lambda where, _, is_stock: grouped(play_with_outages(outage_cases(), where, is_stock=is_stock)),
    }
    found: dict[bool, Rows] = {False: defaultdict(list), True: defaultdict(list)}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        base = Path(folder)
        base.chmod(0o755)
        (base / "server").mkdir()
        with Postgres(base / "server") as server:
            for name, is_stock in product([one for one in parts if not only or one in only], (False, True)):
                what = f"{name}_{'stock' if is_stock else 'ours'}"
                storages = databases(server, what, 2, is_stock=is_stock)
                add(found[is_stock], parts[name](base / what, storages, is_stock), what)
    page = as_markdown(found[False], found[True])
    if only:
        print(page)
    else:
        PAGE.write_text(page)
    sys.exit(any(one.problem for rows in found[False].values() for one in rows))


def kills(where: Path, storages: Sequence[Any], is_stock: bool) -> Rows:
    """Kills each before each of its effects; how many the stock launcher has is found by killing it."""
    if not is_stock:
        return grouped(play_all([*kill_cases(), *whole_platform_cases()], where, storages))
    rows: Rows = {}
    with world_in(where, storages[0], is_stock=True, seconds=0.5) as world:
        for who, setup in stock_plays():
            for before in count():
                (world.folder / NOTED).unlink(missing_ok=True)
                rows.setdefault(who + KILLED_ROW, []).append(play(world, Case(who, setup(before), is_repeated=True)))
                noted = world.folder / NOTED
                if not noted.exists() or KILLED not in noted.read_text():
                    break
    return rows


def grouped(played: dict[str, Played]) -> Rows:
    """Puts what happened before each effect of the same process into one row."""
    rows: Rows = {}
    for name, one in played.items():
        what = re.sub("; killed before effect.*", KILLED_ROW, name)
        what = re.sub("everything, before effect.*", f"everything{KILLED_ROW}", what)
        what = re.sub("(the database is cut) before effect.*", r"\1 before each of its effects", what)
        rows.setdefault(what, []).append(one)
    return rows


def add(rows: Rows, found: Rows, message: str) -> None:
    for what, played in found.items():
        rows[what].extend(played)
    wrong = [f"{what}: {one.problem}" for what, played in found.items() for one in played if one.problem]
    print(
        f"{time.strftime('%H:%M:%S')} {message}: {sum(map(len, found.values()))} played, {len(wrong)} with a problem",
        flush=True,
    )
    for line in wrong:
        print("   ", line, flush=True)


def as_markdown(ours: Rows, stock: Rows) -> str:
    """Gives the page: a row for each fault, with what became of the runs."""
    lines = [INTRODUCTION, "| fault | times injected | ours | stock |", "|---|---|---|---|"]
    for what in [*ours, *(one for one in stock if one not in ours)]:
        played = ours.get(what, [])
        injected = sum(one.injected for one in played)
        lines.append(f"| {what} | {injected} | {outcome_of(played)} | {outcome_of(stock.get(what, []))} |")
    every = [[one for row in rows.values() for one in row if was_met(one)] for rows in (ours, stock)]
    totals = [f"**{sum(one.problem is None for one in played)} of {len(played)}**" for played in every]
    lines.append(f"| **all: as expected** | {sum(one.injected for one in every[0])} | {totals[0]} | {totals[1]} |")
    return "\n".join(lines) + "\n"


def was_met(one: Played) -> bool:
    """Whether the fault happened: the stock platform has fewer calls and effects, and no pods of steps here."""
    return one.outcome is not None and one.injected > 0


def outcome_of(played: Sequence[Played]) -> str:
    """Says how runs ended: those as expected as a number, each kind of the others in words."""
    met = [one for one in played if was_met(one)]
    if not met:
        return "does not meet it"
    good = sum(one.problem is None for one in met)
    wrong = Counter(str(one.outcome) for one in met if one.problem)
    return "; ".join([f"{good} of {len(met)} as expected", *(f"{number} {what}" for what, number in wrong.items())])


if __name__ == "__main__":
    main(sys.argv[1:])
