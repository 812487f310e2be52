"""Measures how long it takes until the definitions are there: fresh processes, taken in turn; the best of each."""

import subprocess
import sys
import time

WAYS = {
    "import dagster": "import dagster",
    "load the definitions (signatures cached)": "from ml_platform.definitions import defs; defs().resolve_all_job_defs()",
    "load a pipeline without Dagster": (
        "from pathlib import Path; from ml_platform.pipeline import load_pipeline; "
        "load_pipeline(Path('ml_platform/defs/flight_delays/pipeline.yaml'))"
    ),
    "print an evaluation": "import sys; sys.argv = ['ml-platform', '--help']; from ml_platform.cli import main; "
    "import ml_platform.cli.evaluations",
    "import sklearn.ensemble (not done)": "import sklearn.ensemble",
    "import torch (not done)": "import torch",
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(5):
        for name, code in WAYS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds[name].append(time.perf_counter() - started)
    base = min(seconds["import dagster"])
    print("| | seconds | ratio to `import dagster` |\n|---|---|---|")
    for name, tries in seconds.items():
        print(f"| {name} | {min(tries):.2f} | {min(tries) / base:.2f} |")


if __name__ == "__main__":
    main()
