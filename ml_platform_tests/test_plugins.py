"""What another distribution adds by entry points is used: steps, models, sources, metrics, launchers, storages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform.errors import ArtifactError
from ml_platform_tests.conftest import run_python
from ml_platform_tests.platform import small_yaml

CODE = '''
import dataclasses
import numpy as np
from ml_platform.artifacts.folders import LocalBackend
from dagster._core.launcher import DefaultRunLauncher
from ml_platform.launchers.backends.registry import BackendSpec
from ml_platform import DataTransformer
from ml_platform.sources import TableSource
from ml_platform_tests import lake

__all__ = ["Louder"]


class Louder(DataTransformer):
    """Says it louder."""

    def __init__(self, column: str = "x"):
        self.column = column

    def transform(self, X):
        return X.assign(**{self.column: X[self.column].str.upper()})


class Attic(LocalBackend):
    """A folder by a scheme of its own."""

    def __init__(self, base):
        super().__init__(base.removeprefix("attic://"))


def profit(truth, answer):
    return float(np.mean((answer > 0.5) * (2.0 * truth - 1.0)))


class OwnTable(TableSource):
    """A kind of source of its own."""


class OwnLauncher(DefaultRunLauncher):
    """A launcher of its own."""


KIND = BackendSpec(step_resources_of=lambda config, tags: None)
PLANES = OwnTable(**{f.name: getattr(lake.PLANES, f.name) for f in dataclasses.fields(lake.PLANES)})
'''
POINTS = """
[ml_platform.steps]
shop = shop_plugin
[ml_platform.models]
shop = shop_plugin
[ml_platform.metrics]
binary.profit = shop_plugin:profit
[ml_platform.sources]
own = shop_plugin:OwnTable
[ml_platform.launchers]
shop_plugin.OwnLauncher = shop_plugin:KIND
[ml_platform.storages]
attic = shop_plugin:Attic
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a distribution that adds to each group, on the path of child processes."""
    place = tmp_path / "site"
    info = place / "shop_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (place / "shop_plugin.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return place


@pytest.mark.usefixtures("installed")
def test_steps_and_models_are_listed_under_their_distribution() -> None:
    command = [sys.executable, "-c", "from ml_platform.cli import main; main()", "steps", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    groups = [one["group"] for one in json.loads(done.stdout) if one["path"] == "shop_plugin.Louder"]
    assert groups == ["Steps of shop-plugin", "Models of shop-plugin"]


@pytest.mark.usefixtures("installed")
def test_a_launchers_class_gets_the_kind_that_is_said_of_it() -> None:
    code = "import shop_plugin as s; from ml_platform.launchers.backends.registry import backend_spec_of; print(backend_spec_of(s.OwnLauncher) is s.KIND)"
    assert run_python(code) == "True"


def test_a_scheme_of_others_is_a_store(installed: Path, tmp_path: Path) -> None:
    code = f"""
from ml_platform.artifacts import ArtifactStore
store = ArtifactStore("attic://{tmp_path}/store")
store.promote([store.add("shop/answer", None, "text", lambda folder: (folder / "text").write_text("42") and {{}})])
print(ArtifactStore("attic://{tmp_path}/store").require("shop/answer").size_bytes)
"""
    assert run_python(code) == "2"
    with pytest.raises(ArtifactError, match=r"attic:///x: expected a folder, file:///folder or s3://"):
        ArtifactStore("attic:///x")


RUN = """
import json
from pathlib import Path
from ml_platform import Pipeline
from ml_platform.artifacts import ArtifactStore
folder = Path({folder!r})
pipeline = Pipeline.load(folder / "pipeline.yaml", store=ArtifactStore(str(folder / "artifacts")), verbose=False).fit()
report = pipeline.evaluate()
nodes = pipeline.materialize_all().artifacts
planes = nodes["lake/planes"][None]
print(json.dumps([report.facts["metric_names"], report.facts["gates"], planes.cache_key]))
"""


@pytest.mark.full
def test_a_metric_and_a_source_of_others_make_an_evaluation_and_an_edit_of_either_makes_anew(
    installed: Path, tmp_path: Path
) -> None:
    yaml = small_yaml(
        ("ml_platform_tests.lake.PLANES", "shop_plugin.PLANES"),
        ("gates:\n", "gates:\n  it_pays: {metric: profit, at_least: -1}\n"),
    )
    (tmp_path / "pipeline.yaml").write_text(yaml)
    metrics, gates, cache_key = json.loads(run_python(RUN.format(folder=str(tmp_path))))
    assert metrics[-1] == "profit"
    assert [gate["passed"] for gate in gates if gate["metric"] == "profit"] == [True]
    path = installed / "shop_plugin.py"
    path.write_text(path.read_text().replace('    """A kind of source of its own."""', "    of_late = True"))
    edited = json.loads(run_python(RUN.format(folder=str(tmp_path))))
    assert edited[2] != cache_key


def test_what_cannot_be_imported_is_named_with_its_distribution(installed: Path, tmp_path: Path) -> None:
    (installed / "shop_plugin-1.0.dist-info" / "entry_points.txt").write_text(
        "[ml_platform.sources]\nown = shop_plugin:Nothing\n"
    )
    code = """
from ml_platform.sources import require_source
try:
    require_source(1, "source 'planes'")
except Exception as error:
    print(error)
"""
    message = run_python(code)
    assert "ml_platform.sources: shop-plugin adds 'own' as shop_plugin:Nothing, which cannot be imported" in message
    (installed / "shop_plugin-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    assert run_python(code) == "source 'planes' is a int, expected a TableSource or OwnTable"
