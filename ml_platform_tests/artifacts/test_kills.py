"""kill -9 of a sweep, again and again, beside a writer that reuses and makes current what the sweep is after."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.paths import object_key
from ml_platform.artifacts.reachability import current_in
from ml_platform.artifacts.retention import Sweep

KILLS = 20

# Makes, or takes what was made before, one of few values after the other, so that most are unneeded and soon needed.
WRITER = """
import itertools, random, sys
from ml_platform.artifacts import ArtifactStore, Origin
from ml_platform.artifacts.artifact import cache_key_of
from ml_platform.errors import ArtifactError

production, chance = ArtifactStore(sys.argv[1]), random.Random(7)
branch = production.on_branch("mine")

def make(store, asset, text, inputs):
    computation = {"node": asset, "text": text}
    known, origin = store.find(cache_key_of(computation)), Origin(inputs, computation, {})
    if known is not None:
        return store.adopt(known, asset, None, origin)
    return store.add(asset, None, "text", lambda folder: {"length": (folder / "a").write_text(f"{asset} {text} " * 2000)}, origin)

for number in itertools.count():
    store, asset = chance.choice([production, branch]), chance.choice("abcd")
    try:
        source = make(store, f"{asset}/source", chance.randrange(16), {})
        made = make(store, f"{asset}/made", chance.randrange(32), {f"{asset}/source": source.id})
        store.promote([source, made])
        print("made", flush=True)
    except ArtifactError as error:
        assert "materialize it again" in str(error), error
        print("gone", flush=True)
"""

# Sweeps for ever what was not used in the last half second: writers take less from finding a value to making it current.
SWEEPER = """
import sys, time
from ml_platform.artifacts.backends import open_backend
from ml_platform.artifacts.retention import Sweep
print("ready", flush=True)
while True:
    counts = Sweep(open_backend(sys.argv[1]), sys.argv[1], time.time() - 0.5, time.time()).run().counts
    print(sum(count.freed_bytes for count in counts.values()), flush=True)
"""


@contextmanager
def started(code: str, base: Path, log: Path) -> Iterator["subprocess.Popen[str]"]:
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(base)], stdout=output, stderr=subprocess.STDOUT, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.005)


def heads_in(base: Path) -> list[Artifact]:
    """Reads every head of production and the branch, its bytes, and what it was made of."""
    store = ArtifactStore(str(base))
    heads = current_in(store._backend, store.base)
    for head in heads:
        ArtifactStore(str(base)).open(head)
        for label, id_ in head.inputs.items():
            ArtifactStore(str(base)).open(store.version(label, id_))
    return heads


@pytest.mark.full
def test_a_sweep_that_is_killed_beside_a_writer_leaves_all_heads_whole(tmp_path: Path) -> None:
    base, writing, chance = tmp_path / "store", tmp_path / "writer.log", random.Random(KILLS)
    freed = 0
    with started(WRITER, base, writing) as writer:
        wait_for(writing, "made")
        for number in range(KILLS):
            sweeping = tmp_path / f"sweeper-{number}.log"
            with started(SWEEPER, base, sweeping) as sweeper:
                wait_for(sweeping, "ready")
                time.sleep(chance.uniform(0, 0.4))
                os.kill(sweeper.pid, signal.SIGKILL)
                sweeper.wait()
            assert writer.poll() is None, writing.read_text()[-2000:]
            assert heads_in(base)
            freed += sum(map(int, sweeping.read_text().split()[1:]))
    said = writing.read_text().split()
    assert said.count("made") > 5 * KILLS, "the writer was kept from its work"
    assert freed > 0
    store = ArtifactStore(str(base))
    time.sleep(0.05)
    final = Sweep(store._backend, store.base, time.time(), time.time()).run().counts
    heads = heads_in(base)
    assert list((base / "staging").iterdir()) == []
    assert all(store.find(head.cache_key) is not None for head in heads), "what is current is reused"
    needed = {object_key(head) for head in heads} | {
        object_key(store.version(label, id_)) for head in heads for label, id_ in head.inputs.items()
    }
    assert {path.parent.relative_to(base).as_posix() for path in base.rglob("objects/*/*/*")} == needed
    counts = {
        "kills": KILLS,
        "made": said.count("made"),
        "refused": said.count("gone"),
        "freed bytes": freed + final["values"].freed_bytes,
    }
    sys.stdout.write(json.dumps(counts) + "\n")
