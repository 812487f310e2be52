"""A process that lost its lease does nothing and publishes nothing.

`test_mutants` breaks these fences one by one, and these tests must notice.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml_platform.artifacts import ArtifactStore, Origin
from ml_platform.launchers.leases import lease
from ml_platform.launchers.leases.lease import Lease
from ml_platform.launchers.leases.schema import DIED, ENDED, Holder, Launch, Work
from ml_platform.launchers.leases.table import Launches

STATUS = dg.DagsterRunStatus
WORK = Work("run", "run", "job")


@pytest.fixture
def wrapper(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], int]]:
    """The wrapper, in this process, around a command that leaves a mark."""
    monkeypatch.setenv("DAGSTER_HOME", instance.root_directory)
    monkeypatch.setattr(lease, "instance_ref_of", lambda *_: None)
    yield lambda lease_id: lease.main([lease_id, "sh", "-c", f"echo x >> {tmp_path / 'marks'}"])
    lease._Process.lease = None
    monkeypatch.delenv("ML_PLATFORM_HELD_LEASE", raising=False)


def test_the_loser_does_nothing_and_exits_0(
    instance: dg.DagsterInstance,
    launches: Launches,
    launch: Launch,
    tmp_path: Path,
    wrapper: Callable[[str], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert wrapper(launch.lease_id) == 0
    assert launches.get(launch.id).outcome == ENDED
    assert wrapper(launch.lease_id) == 0
    assert "Nothing to do here" in capsys.readouterr().out
    assert (tmp_path / "marks").read_text() == "x\n"
    assert instance.all_logs(launch.work.run_id) == []


def test_a_lost_lease_publishes_nothing(launches: Launches, launch: Launch, tmp_path: Path) -> None:
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    lost: list[str] = []

    def note() -> None:
        lost.append("lost")
        raise ConnectionAbortedError

    held = Lease(launches, launch.id, holder.secret, note)
    store = ArtifactStore(str(tmp_path / "store")).fenced_by(held.publishing)

    def write(folder: Path) -> dict[str, Any]:
        (folder / "a").write_text("a")
        return {}

    origin = Origin(computation={"a": 1})
    result = store.add("asset", None, "frame", write, origin)
    launches.release(launch, DIED, "taken over")
    for publish in (
        lambda: store.add("other", None, "frame", write, Origin(computation={"b": 1})),
        lambda: store.promote([result]),
    ):
        with pytest.raises(ConnectionAbortedError):
            publish()
    assert len(lost) == 2
    names = [str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store").rglob("*.json")]
    assert not [name for name in names if name.startswith("heads") or "other" in name], names
    assert len([name for name in names if name.startswith("addresses")]) == 1


def test_without_a_lease_everything_is_published(tmp_path: Path) -> None:
    with lease.publishing():
        pass
    assert lease.current() is None
