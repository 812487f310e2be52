"""The wheel alone, in an environment of its own: a project of one's own in which every command works."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from ml_platform_tests import lake
from ml_platform_tests.repository import project_root
from ml_platform_tests.servers import free_port, wait_until

pytestmark = pytest.mark.full

CELL = """
from ml_platform import DataTransformer

class Faster(DataTransformer):
    \"\"\"Adds a speed in miles per minute.\"\"\"

    depends_on_threads = False

    def transform(self, X):
        return X.assign(speed=X["distance"] / X["air_time"])
"""


@dataclass
class Shop:
    """An environment with the wheel, and a project in it."""

    venv: Path
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "DAGSTER_HOME", "VIRTUAL_ENV")
        }
        return {**mine, "PATH": f"{self.venv / 'bin'}:/usr/local/bin:/usr/bin:/bin", "COLUMNS": "200"}

    def __call__(self, *command: str, at: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=at or self.root, env=self.environment, capture_output=True, text=True, check=False
        )

    def done(self, *command: str, at: Path | None = None) -> str:
        """Runs a command that must succeed, in silence about anything odd."""
        done = self(*command, at=at)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A project made by a fresh environment with the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("alone")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(project_root())], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    alone = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
    subprocess.run([*alone, "-c", str(project_root() / "constraints.txt"), str(wheel)], check=True)
    shop = Shop(folder / "venv", folder / "shop")
    assert "wrote the project shop" in shop.done("ml-platform", "new", "project", "shop", at=folder)
    (shop.root / "data").mkdir()
    shutil.copy(Path(lake.__file__).parent / "flights.csv", shop.root / "data")
    return shop


def test_nothing_of_another_place_is_imported(shop: Shop) -> None:
    found = shop.done("python", "-c", "import ml_platform, sys; print(ml_platform.__file__, *sys.path)")
    assert str(project_root()) not in found


def test_optional_parts_are_named_with_their_extras(shop: Shop) -> None:
    refused = shop("ml-platform", "check-transformer", "ml_platform.transformers.Calendar")
    assert refused.returncode == 1
    assert "pip install 'ml_platform[battery]'" in refused.stderr


@pytest.fixture(scope="module")
def with_pipeline(shop: Shop) -> Shop:
    """The project with a pipeline over a table that nobody described."""
    command = ["ml-platform", "new", "pipeline", "delays", "--data", "data/flights.csv", "--target", "arr_delay"]
    told = shop.done(*command, "--time", "time_hour")
    assert "task regression; split by time_hour, 2 months to test" in told
    return shop


def test_a_new_pipeline_runs_as_written_and_is_reused_the_second_time(with_pipeline: Shop) -> None:
    assert "0 to reuse" in with_pipeline.done("ml-platform", "plan", "delays")
    told = with_pipeline.done("ml-platform", "run", "delays")
    assert "✓ gate  better_than_the_mean" in told
    assert "Warning" not in told
    assert Path(told.split("report: ")[1].strip()).is_file()
    assert "to reuse, 0 to recompute" in with_pipeline.done("ml-platform", "plan", "delays")
    below = with_pipeline.root / "shop" / "defs"
    assert "metric" in with_pipeline.done("ml-platform", "evaluation", "delays", at=below)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("ml-platform try delays --rows 300", "on a sample of about 300 rows"),
        ("ml-platform columns delays", "hour_of_day"),
        ("ml-platform routes", "delays/boosted"),
        ("ml-platform steps", "Calendar"),
        ("ml-platform launches", "Nothing was launched yet"),
        ("ml-platform gc --dry-run", "bytes"),
        ("ml-platform parity delays --rows 300", "equal bits"),
        ("dg check defs", "All definitions loaded successfully"),
        ("dg list components", "ml_platform.components.MLPipelineComponent"),
    ],
)
def test_a_command_works(with_pipeline: Shop, command: str, told: str) -> None:
    assert told in with_pipeline.done(*command.split())


def test_a_scaffold_loads(with_pipeline: Shop) -> None:
    with_pipeline.done("dg", "scaffold", "defs", "ml_platform.components.MLPipelineComponent", "irises")
    assert "All definitions loaded successfully" in with_pipeline.done("dg", "check", "defs")
    assert "irises/evaluation" in with_pipeline.done("ml-platform", "plan", "irises")


def test_make_test_sets_up_and_passes_and_then_classes_are_lifted_and_tried(with_pipeline: Shop) -> None:
    assert "2 passed" in with_pipeline.done("make", "test")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(book, with_pipeline.root / "idea.ipynb")
    assert "shop/transformers/faster.py" in with_pipeline.done("ml-platform", "lift", "idea.ipynb", "Faster")
    path = "shop.transformers.faster.Faster"
    listed = json.loads(with_pipeline.done("ml-platform", "steps", "--json"))
    assert [one["group"] for one in listed if one["path"] == path] == ["Steps of shop"]
    rows = (
        "import pandas as pd; pd.DataFrame({'distance': [1.0, 9.0], 'air_time': [2.0, 3.0]}).to_parquet('rows.parquet')"
    )
    with_pipeline.done("python", "-c", rows)
    told = with_pipeline.done("ml-platform", "check-transformer", path, "--examples", "rows.parquet")
    assert "8 kept" in told  # no output_schema, and nothing to look up
    assert "broken" not in told


@pytest.fixture
def served(with_pipeline: Shop) -> Iterator[str]:
    """The address of what a plain `dagster dev` serves."""
    port = free_port()
    command = ["dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=with_pipeline.root, env=with_pipeline.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def test_dagster_dev_serves_the_projects_assets(served: str) -> None:
    query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    request = urllib.request.Request(f"{served}/graphql", query, {"Content-Type": "application/json"})

    def assets() -> list[list[str]]:
        try:
            with urllib.request.urlopen(request) as answer:
                return [node["assetKey"]["path"] for node in json.load(answer)["data"]["assetNodes"]]
        except OSError:
            return []

    wait_until(lambda: ["delays", "evaluation"] in assets(), 300, "the project")
