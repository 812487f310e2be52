"""Runs docs/first_notebook.ipynb in a copy of the project and keeps what it showed: `python docs/run_notebook.py`."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = Path("docs") / "first_notebook.ipynb"
SECONDS = 600  # for one cell


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        shown = run_in_copy(Path(folder))
    nbformat.write(shown, ROOT / NOTEBOOK)


def run_in_copy(folder: Path) -> Any:
    """Copies the project, runs the notebook there, and gives it with its outputs; what it wrote stays in the copy.

    Raises:
        nbclient.exceptions.CellExecutionError: what a cell raised.
    """
    copy_project(folder)
    notebook = nbformat.read(folder / NOTEBOOK, as_version=4)
    own = {"PYTHONPATH": str(folder), "DAGSTER_HOME": str(folder / ".dagster"), "ML_PLATFORM_ARTIFACTS": "",
           "COLUMNS": "110"}  # fmt: skip
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder / "docs")}}
    )
    client.execute(env={**os.environ, **own})
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = output["text"].replace(str(folder), "..")
    return notebook


def copy_project(folder: Path) -> None:
    """Copies what git would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


if __name__ == "__main__":
    main()
