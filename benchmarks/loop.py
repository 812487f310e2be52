"""Measures how long a data scientist waits: fresh processes on the real year, best of `--rounds`.

The script is the demo's steps as plain Python calls in one process, which keeps and reuses nothing. The others are the
commands as people type them, over a copy of the project whose YAML is edited between them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

SCRIPT = "import demo_overhead as d; from ml_platform.pipeline import load_pipeline; d.run_plain(load_pipeline(d.YAML))"
FEATURE = (
    "parts: [minute_of_day, hour_of_day, day_of_week]",
    "parts: [minute_of_day, hour_of_day, day_of_week, day_of_month]",
)
USED = ("    - day_of_week\n", "    - day_of_week\n    - day_of_month\n")
LAST = ("learning_rate: 0.05", "learning_rate: 0.06")


class Project:
    """A copy of the project with a store of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("ml_platform",):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, folder / name)
        self.yaml = folder / "ml_platform" / "defs" / "flight_delays" / "pipeline.yaml"
        self.declared = self.yaml.read_text()
        self.stores = 0
        self.fresh_store()

    def fresh_store(self) -> None:
        self.stores += 1

    def edit(self, *changes: tuple[str, str]) -> None:
        text = self.declared
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        self.yaml.write_text(text)

    def seconds(self, *arguments: str) -> float:
        """Runs a command and measures it."""
        path = os.pathsep.join([str(self.folder), str(ROOT / "benchmarks")])
        environment = {**os.environ, "PYTHONPATH": path, "DAGSTER_HOME": str(self.folder / f"home-{self.stores}")}
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=self.folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started

    def command(self, *arguments: str) -> float:
        return self.seconds("-c", "from ml_platform.cli import main; main()", *arguments)


def one_round(project: Project) -> dict[str, float]:
    """Takes each measure once."""
    project.edit()
    found = {"the script": project.seconds("-c", SCRIPT)}
    for command in ("try", "run"):
        project.fresh_store()
        project.edit()
        found[f"{command}, nothing there"] = project.command(command, "flight_delays")
        found[f"{command}, nothing changed"] = project.command(command, "flight_delays")
        project.edit(LAST)
        found[f"{command}, a model's parameter edited"] = project.command(command, "flight_delays")
        if command == "try":
            found["plan, after that edit"] = project.command("plan", "flight_delays")
        project.edit(FEATURE, USED)
        found[f"{command}, a feature edited and used"] = project.command(command, "flight_delays")
    project.edit(
        (FEATURE[0], FEATURE[1].replace("day_of_month", "day_of_year")),
        (USED[0], USED[1].replace("day_of_month", "day_of_year")),
    )
    found["try --model boosted, a feature edited and used"] = project.command(
        "try", "flight_delays", "--model", "boosted"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        tries = [one_round(project) for _ in range(rounds)]
    best = {name: min(one[name] for one in tries) for name in tries[0]}
    print("| | seconds | ratio to the script |\n|---|---|---|")
    for name, took in best.items():
        print(f"| {name} | {took:.1f} | {took / best['the script']:.2f} |")


if __name__ == "__main__":
    main()
