"""Measures installs: seconds and megabytes, by set of extras and by installer.

    python benchmarks/installing.py [--uv PATH]

Packages come over the network or from the installer's cache, as on the machine that measures: the second of two runs
says what unpacking costs.
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
SETS = ("", "[examples,report]", "[dev]")


def install(folder: Path, extras: str, uv: str | None) -> tuple[float, float, str]:
    """Installs the project into a new environment; gives seconds, megabytes and the torch that came."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    shutil.copytree(ROOT, folder / "project", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    started = time.perf_counter()
    # The project's own set-up: it says where either installer looks.
    environment = {**os.environ, "PATH": f"{Path(uv).parent}:{os.environ['PATH']}" if uv else _without_uv()}
    target = folder / "project" / ".venv"
    target.symlink_to(folder)
    command = ["sh", "deploy/local/setup", python, extras.strip("[]")]
    subprocess.run(command, cwd=folder / "project", env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    size = subprocess.run(["du", "-sm", str(folder / "lib")], capture_output=True, text=True, check=True)
    torch = next((folder / "lib").glob("python*/site-packages/torch-*.dist-info")).name
    return seconds, float(size.stdout.split()[0]), torch.removesuffix(".dist-info")


def _without_uv() -> str:
    return os.pathsep.join(place for place in os.environ["PATH"].split(os.pathsep) if not (Path(place) / "uv").exists())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uv", default=shutil.which("uv"), help="where uv is; without it pip alone is measured")
    uv = parser.parse_args().uv
    print(f"{'installer':<10}{'ml_platform...':<22}{'seconds':>8}{'MB':>7}  torch")
    for installer in (None, uv) if uv else (None,):
        for extras in SETS:
            with tempfile.TemporaryDirectory() as folder:
                seconds, megabytes, torch = install(Path(folder) / "venv", extras, installer)
            print(
                f"{'uv' if installer else 'pip':<10}{extras or '(alone)':<22}{seconds:>8.0f}{megabytes:>7.0f}  {torch}",
                flush=True,
            )


if __name__ == "__main__":
    main()
