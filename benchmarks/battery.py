"""Measures how long the battery takes: as a command in a fresh process, and once more in a process that has run it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ml_platform import check_transformer
from ml_platform.transformers import SQL, Calendar, Frequencies
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS
from ml_platform_tests.contract.battery.zoo.sound import Departures

COUNT = 'SELECT origin, "at", count(*) AS n FROM flights GROUP BY ALL'
CASES = [
    ("row-wise", "Calendar", Calendar("at"), "ml_platform.transformers.Calendar", '{"column": "at"}'),
    ("fitted", "Frequencies", Frequencies(["dest"]), "ml_platform.transformers.Frequencies", '{"columns": ["dest"]}'),
    ("aggregating, pandas", "Departures of the zoo", Departures(), f"{Departures.__module__}.Departures", "{}"),
    ("aggregating, DuckDB", "SQL", SQL(COUNT, ["origin", "at"], as_of="at"), "ml_platform.transformers.SQL",
     '{"key": ["origin", "at"], "as_of": "at", "query": "' + COUNT.replace('"', '\\"') + '"}'),
]  # fmt: skip
ROUNDS = 3


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - started


def main() -> None:
    imports = min(seconds_of([sys.executable, "-c", "import pandas, sklearn.base"]) for _ in range(ROUNDS))
    print(f"import pandas, sklearn.base: {imports:.2f} s\n")
    print("| kind | transformer | command, s | ratio to the imports | again in one process, s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flights.parquet"
        FLIGHTS.to_parquet(file)
        for kind, name, transformer, path, params in CASES:
            command = ["ml-platform", "check-transformer", path, "--params", params, "--examples", str(file)]
            fresh = min(seconds_of(command) for _ in range(ROUNDS))
            again = min(check_transformer(transformer, FLIGHTS).seconds for _ in range(ROUNDS))
            print(f"| {kind} | `{name}` | {fresh:.1f} | {fresh / imports:.1f} | {again:.1f} |")


if __name__ == "__main__":
    main()
