"""Measures what a fully reused run costs, beside the first.

Runs `ml-platform run flight_delays` in a folder of its own: once from nothing, then as often as asked, with the events
of partitions stored at once and one by one in turn. Processor seconds of executing the job count, imports and
definitions left out; wall time says what else the machine does.

    python benchmarks/reuse.py [--runs 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

ONE = """
import sys, time
import dagster as dg
from ml_platform.cli.main import main

execute = dg.JobDefinition.execute_in_process

def timed(job, *arguments, **named):
    started = time.process_time()
    try:
        return execute(job, *arguments, **named)
    finally:
        print("seconds", time.process_time() - started, file=sys.stderr)

dg.JobDefinition.execute_in_process = timed
main(["run", "flight_delays"])
"""


def run(home: str, batch: str) -> float:
    """Returns the processor seconds of one run, in a fresh process."""
    environment = {**os.environ, "DAGSTER_HOME": home, "DAGSTER_EVENT_BATCH_SIZE": batch, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", ONE], env=environment, capture_output=True, text=True, check=True)
    return float(next(line for line in done.stderr.splitlines() if line.startswith("seconds")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        first = run(home, "1000")
        found: dict[str, list[float]] = {"1000": [], "0": []}
        for _ in range(runs):
            for batch, seconds in found.items():
                seconds.append(run(home, batch))
    print(f"{'':<30}{'median s':>10}{'least s':>10}{'of the first':>14}")
    rows = {"the first run": [first], "reused, events at once": found["1000"], "reused, events one by one": found["0"]}
    for name, seconds in rows.items():
        middle = statistics.median(seconds)
        print(f"{name:<30}{middle:>10.2f}{min(seconds):>10.2f}{middle / first:>13.1%}")


if __name__ == "__main__":
    main()
