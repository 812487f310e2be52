"""Files from strangers are refused by name before anything runs: measured in a process that is watched."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.buckets import ObjectBackend
from ml_platform.artifacts.networks import STATE, WEIGHTS
from ml_platform.artifacts.objects import read_object, write_object
from ml_platform.errors import ArtifactError
from ml_platform_tests.artifacts.hostile import HEAD, NETWORK, Maker

MOST_BYTES = 2**30  # what reading everything may take beside what reading honest files takes


def watched(folder: Path, what: str) -> dict[str, Any]:
    """Runs a process that watches itself, and gives what it saw."""
    command = [
        sys.executable,
        "-m",
        "ml_platform_tests.artifacts.watched",
        what,
        str(folder),
        str(folder / "told.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return watched(tmp_path_factory.mktemp("hostile"), "read")


@pytest.mark.full
def test_500_hostile_files_and_more_are_refused_by_name(told: dict[str, Any]) -> None:
    assert told["files"] >= 500
    assert [one for one in told["results"] if one[2] != "refused"] == []
    unnamed = [(name, said) for name, names, _, said, _ in told["results"] if names not in said]
    assert unnamed == []
    vague = [said for name, _, _, said, _ in told["results"] if "expected" not in said and not name.startswith("table")]
    assert vague == []


@pytest.mark.full
def test_none_of_them_executes_imports_connects_or_writes(told: dict[str, Any]) -> None:
    assert told["seen"] == []
    assert not told["executed"]


@pytest.mark.full
def test_reading_them_takes_bounded_memory(told: dict[str, Any]) -> None:
    assert told["grown_bytes"] < MOST_BYTES, sorted(told["results"], key=lambda one: -one[4])[:5]


@pytest.mark.full
def test_files_of_our_own_are_read_in_the_same_ways(told: dict[str, Any]) -> None:
    assert told["honest"] == [["", ""]] * len(told["honest"])
    assert len(told["honest"]) == 7


@pytest.mark.full
def test_every_payload_would_execute_if_somebody_unpickled_it(tmp_path: Path) -> None:
    """The control: what is watched for is seen when it happens."""
    control = watched(tmp_path, "control")
    assert control["live"] == control["tried"] >= 18
    assert control["executed"]


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("maker"))


def test_files_that_no_manifest_names_are_not_read(maker: Maker) -> None:
    """A network beside an object's file is not verified, and so it is not the object."""
    folder = maker.plant("beside", "object", maker.honest["object"].files, "")
    for name in (STATE, WEIGHTS):
        (folder / name).write_bytes(maker.honest["network"].files[name])
    store = ArtifactStore(str(maker.cases[-1].base))
    assert isinstance(read_object(store, store.require("t/it"), [NETWORK]), LogisticRegression)


def test_an_address_of_another_computation_is_not_taken(tmp_path: Path) -> None:
    from ml_platform.artifacts import Origin

    store = ArtifactStore(str(tmp_path))
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    made = [store.add("t/it", None, "sklearn", lambda f: write_object(f, model) or {}, Origin(computation={"of": number}))
            for number in (1, 2)]  # fmt: skip
    one, other = (tmp_path / f"addresses/{artifact.cache_key[:2]}/{artifact.cache_key}.json" for artifact in made)
    one.write_bytes(other.read_bytes())
    assert store.find(made[0].cache_key) is None
    assert store.find(made[1].cache_key) == made[1]


def through_a_cache(base: Path) -> ArtifactStore:
    """Reads a folder the way a bucket is read."""
    store = ArtifactStore(str(base))
    store._backend = ObjectBackend(f"file://{base}")
    return store


@pytest.mark.parametrize("climbing", ["../../../escaped", "/tmp/escaped", "..\\escaped"])
def test_a_climbing_name_writes_nothing_outside_of_the_cache_of_an_object_store(maker: Maker, climbing: str) -> None:
    maker.plant("report", "report", maker.honest["report"].files, "")
    base = maker.cases[-1].base
    manifest = json.loads((base / HEAD).read_text())
    manifest["files"][0]["name"] = climbing
    (base / HEAD).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"_whole\.json: not a manifest .*expected name of a file to be"):
        through_a_cache(base).require("t/it")


def test_a_cache_that_others_may_write_is_refused(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.plant("report", "report", maker.honest["report"].files, "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = through_a_cache(maker.cases[-1].base)
    (cache,) = (path.name for path in [store._backend._cache.parent])
    (tmp_path / cache).mkdir()
    (tmp_path / cache).chmod(0o777)
    with pytest.raises(ArtifactError, match=f"{cache}: expected a folder that you alone may write"):
        store.open(store.require("t/it"))


@pytest.mark.full
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd

    from ml_platform.artifacts.frames import write_frame

    with pytest.raises(ArtifactError, match=r"the frame: .* bytes would unpack to .*; expected .* at most"):
        write_frame(tmp_path, pd.DataFrame({"x": np.zeros(2**25 + 1)}))
    model = LogisticRegression()
    model.more = np.zeros(2**25 + 1)
    with pytest.raises(ArtifactError, match=r"LogisticRegression cannot be stored: .* would unpack to"):
        write_object(tmp_path, model)
