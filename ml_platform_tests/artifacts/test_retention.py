"""What a head reaches, what was used of late and what is being written stays; the rest goes."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread

import pytest

from ml_platform.artifacts import ArtifactStore, Origin
from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.backend_protocol import Entry
from ml_platform.artifacts.folders import LocalBackend
from ml_platform.artifacts.retention import Collected, Sweep
from ml_platform.artifacts.staging import staging_in
from ml_platform.errors import ArtifactError

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _a_clock_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_platform.artifacts.pending_deletions._CLOCK_SECONDS", 0.0)


def make(store: ArtifactStore, asset: str, text: str = "", inputs: Mapping[str, str] | None = None) -> Artifact:
    computation = {"node": asset, "text": text}
    origin = Origin(inputs or {}, computation, {})
    return store.add(asset, None, "text", lambda folder: {"length": (folder / "a").write_text(text or asset)}, origin)


def moment(store: ArtifactStore) -> float:
    """Waits, then returns a moment later than all that was written before; S3 has whole seconds."""
    if "://" not in store.base:
        time.sleep(0.02)
        now = time.time()
        time.sleep(0.02)
        return now
    since = float(int(time.time()) + 1)
    time.sleep(since - time.time())
    return since


def sweep(store: ArtifactStore, since: float | None = None, *, is_dry: bool = False) -> Collected:
    """Sweeps what was not used since a moment; of a bucket twice, a day apart."""
    since = moment(store) if since is None else since
    first = Sweep(store._backend, store.base, since, time.time(), is_dry=is_dry).run()
    if is_dry or not store._backend.waits_seconds:
        return first
    return Sweep(store._backend, store.base, since, time.time() + 1.1 * DAY).run()


def is_there(store: ArtifactStore, artifact: Artifact) -> bool:
    return bool(ArtifactStore.on_branch(store, "")._backend.sizes(f"objects/{artifact.digest[:2]}/{artifact.digest}"))


def test_what_no_head_reaches_goes_and_its_bytes_are_told(store: ArtifactStore) -> None:
    former, current = make(store, "a", "x" * 100), make(store, "a", "y")
    store.promote([former])
    store.promote([current])
    counts = sweep(store).counts
    assert not is_there(store, former)
    assert (counts["values"].kept, counts["values"].deleted, counts["values"].freed_bytes) == (1, 1, 100)
    assert (counts["versions"].kept, counts["versions"].deleted) == (1, 1)
    assert counts["heads"].kept == 1
    assert store.find(former.cache_key) is None
    assert store.find(current.cache_key) == current
    assert store.open(store.require("a")).is_dir()
    with pytest.raises(ArtifactError, match="a: no version"):
        store.version("a", former.id)


def test_what_a_head_was_made_of_stays_as_far_as_the_sources(store: ArtifactStore) -> None:
    """As an approval names its evaluation by id, and that its model, current or not."""
    model = make(store, "model")
    evaluation = make(store, "evaluation", inputs={"model": model.id})
    approval = make(store, "approval", inputs={"evaluation": evaluation.id})
    store.promote([model, evaluation, approval])
    store.promote([make(store, "model", "newer"), make(store, "evaluation", "newer")])
    sweep(store)
    assert store.version("evaluation", evaluation.id) == evaluation
    assert store.open(store.version("model", model.id)).is_dir()
    assert store.find(model.cache_key) == model


def test_what_a_branchs_head_reaches_stays(store: ArtifactStore) -> None:
    branch = store.on_branch("somebody's")
    mine, other = make(store, "a", "mine"), make(store, "a", "other")
    branch.promote([mine])
    sweep(store)
    assert branch.open(branch.require("a")).is_dir()
    assert not is_there(store, other)


def test_what_was_reused_of_late_stays_though_no_head_has_it(store: ArtifactStore) -> None:
    source = make(store, "source")
    reused = make(store, "a", "reused", {"source": source.id})
    unused = make(store, "a", "unused")
    since = moment(store)
    known = store.find(reused.cache_key)
    assert known is not None
    store.adopt(known, "a", None, Origin({"source": source.id}, reused.computation, {}))
    sweep(store, since)
    assert store.version("a", reused.id) == reused
    assert store.find(reused.cache_key) == reused
    assert store.find(source.cache_key) == source, "what it was made of"
    assert not is_there(store, unused)


def test_what_was_current_of_late_stays(store: ArtifactStore) -> None:
    """Whoever reads it may name it, later, as what a value was made of."""
    former = make(store, "a", "former")
    store.promote([former])
    since = moment(store)
    store.promote([make(store, "a", "current")])
    sweep(store, since)
    assert store.version("a", former.id) == former
    assert is_there(store, former)


def test_a_dry_run_tells_and_deletes_nothing(store: ArtifactStore) -> None:
    unused = make(store, "a", "x" * 100)
    store.promote([make(store, "a", "y")])
    since = moment(store)
    told = sweep(store, since, is_dry=True).counts
    assert is_there(store, unused)
    assert store.find(unused.cache_key) == unused
    found = told["values"]
    assert (found.deleted + found.waiting, found.freed_bytes) == (1, 0 if found.waiting else 100)
    assert told["cache_entries"].deleted == 1


def test_an_address_that_stays_keeps_what_it_would_give(store: ArtifactStore) -> None:
    """As after `--fresh`: the version that is needed had other bytes at the same cache key."""
    former = make(store, "a", "former")
    store.promote([former])
    store.forget(former.cache_key)
    origin = Origin({}, former.computation, {})
    fresh = store.add("b", None, "text", lambda folder: {"length": (folder / "a").write_text("fresh")}, origin)
    sweep(store)
    assert store.find(former.cache_key) == fresh


def test_a_head_that_cannot_be_read_stops_the_sweep(store: ArtifactStore) -> None:
    unused = make(store, "a", "unused")
    store.promote([make(store, "b")])
    store._backend.write("heads/b/_whole.json", b"{")
    with pytest.raises(ArtifactError, match=r"heads/b/_whole\.json: not a manifest .*materialize the asset again"):
        sweep(store)
    assert store.find(unused.cache_key) == unused


def test_what_no_store_writes_stays_and_is_told(store: ArtifactStore) -> None:
    store._backend.write("objects/README.txt", b"mine")
    store._backend.write("mine/heads.json", b"{}")
    store.note("code/abc", {})
    told = sweep(store).remarks
    assert told == ["2 files that no store writes stay: mine/heads.json, objects/README.txt"]
    assert store._backend.read("mine/heads.json") == b"{}"
    assert store.noted("code/abc") == {}


def test_a_version_that_is_missing_is_told_and_keeps_nothing_from_being_swept(store: ArtifactStore) -> None:
    unused = make(store, "a", "unused")
    store.promote([make(store, "b", inputs={"gone": "0" * 64})])
    assert sweep(store).remarks == ["1 versions that needed ones were made of are not there"]
    assert not is_there(store, unused)


def test_an_empty_store_is_swept(store: ArtifactStore) -> None:
    assert sweep(store).counts["values"].deleted == 0


def test_what_is_made_current_must_be_there(store: ArtifactStore) -> None:
    gone = make(store, "a", "gone")
    other = make(store, "b")
    store._backend.remove(f"objects/{gone.digest[:2]}/{gone.digest}/a")
    with pytest.raises(ArtifactError, match=r"a: a is not in .* any more; materialize it again"):
        store.promote([other, gone])
    assert store.current("b") is None, "all heads move, or none"


class TestBucket:
    """What only a bucket does: it has no lock, so nothing is removed that was not condemned a day before."""

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest, s3_server: str) -> ArtifactStore:
        import s3fs

        options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": s3_server}}
        bucket = f"bucket-{time.time_ns()}"
        s3fs.S3FileSystem(**options).mkdir(bucket)
        return ArtifactStore(f"s3://{bucket}/base", **options)

    def once(self, store: ArtifactStore, since: float, days: float) -> Collected:
        return Sweep(store._backend, store.base, since, time.time() + days * DAY).run()

    def test_what_is_condemned_is_not_known_and_waits(self, store: ArtifactStore) -> None:
        unused = make(store, "a")
        since = moment(store)
        assert self.once(store, since, 0).counts["values"].waiting == 1
        assert store.find(unused.cache_key) is None
        assert self.once(store, since, 0.9).counts["values"].waiting == 1
        assert is_there(store, unused)
        assert len(list(store._backend.entries("condemned"))) == 1, "it waits since it was condemned first"
        assert self.once(store, since, 1.1).counts["values"].deleted == 1
        assert list(store._backend.entries("condemned")) == []

    def test_what_is_adopted_by_who_knew_it_before_stays(self, store: ArtifactStore) -> None:
        made = make(store, "a")
        since = moment(store)
        known = store.find(made.cache_key)
        self.once(store, since, 0)
        assert known is not None
        adopted = store.adopt(known, "b", None, Origin())
        self.once(store, since, 1.1)
        store.promote([adopted])
        assert store.open(store.require("b")).is_dir()

    def test_what_is_made_again_while_it_waits_stays(self, store: ArtifactStore) -> None:
        make(store, "a")
        since = moment(store)
        self.once(store, since, 0)
        time.sleep(1.1)
        again = make(store, "a")
        far = time.time() + 50 * DAY  # all is old then, and what was condemned before it was made again is not it
        self.once(store, far, 1.1)
        assert is_there(store, again)

    def test_a_sweep_that_was_killed_after_it_condemned_is_ended_by_the_next(
        self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unused = make(store, "a")
        since = moment(store)
        self.once(store, since, 0)
        monkeypatch.setattr(store._backend, "remove", lambda key: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            self.once(store, since, 1.1)
        monkeypatch.undo()
        self.once(store, since, 1.2)
        assert not is_there(store, unused)
        assert list(store._backend.entries("condemned")) == []


class TestFolder:
    """What only a folder has: locks, staging, files beside their targets."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        return ArtifactStore(str(tmp_path))

    def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        make(store, "a")
        beside = tmp_path / "heads" / f".b.json.12-{'0' * 32}"
        beside.parent.mkdir()
        beside.write_text("half")
        folder = tmp_path / "staging" / f"12-{'1' * 32}"
        folder.mkdir()
        (folder / "data").write_text("half!")
        folder.with_name(folder.name + ".lock").touch()
        with staging_in(tmp_path / "other"):
            found = Sweep(store._backend, store.base, time.time(), time.time()).run().counts["leftovers"]
        assert (found.kept, found.deleted, found.freed_bytes) == (1, 1, 5)
        assert beside.exists(), "it may be a writer's"
        yesterday = time.time() - 1.1 * DAY
        os.utime(beside, (yesterday, yesterday))
        found = Sweep(store._backend, store.base, time.time(), time.time()).run().counts["leftovers"]
        assert (found.kept, found.deleted, found.freed_bytes) == (0, 1, 4)

    def test_what_was_used_since_a_writer_began_that_is_at_work_stays(self, store: ArtifactStore) -> None:
        with store._backend.staging():
            time.sleep(0.02)
            used = make(store, "a")
            assert sweep(store).counts["values"].deleted == 0
        assert is_there(store, used)
        assert sweep(store).counts["values"].deleted == 1

    def test_what_is_used_between_the_look_and_the_removal_stays(
        self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer comes as late as can be: when the sweep is about to remove."""
        made = make(store, "a")
        since = moment(store)
        discard = LocalBackend.discard

        def use_first(backend: LocalBackend, before: Mapping[str, float]) -> object:
            known = store.find(made.cache_key)
            if known is not None:
                store.promote([store.adopt(known, "b", None, Origin({}, made.computation, {}))])
            return discard(backend, before)

        monkeypatch.setattr(LocalBackend, "discard", use_first)
        sweep(store, since)
        assert store.open(store.require("b")).is_dir()
        assert store.version("b", store.require("b").id)

    @pytest.mark.parametrize("removals", range(6))
    def test_cut_off_anywhere_what_can_be_found_is_whole_and_the_next_sweep_ends_it(
        self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, removals: int
    ) -> None:
        made = [make(store, "a", "one"), make(store, "a", "two")]
        store.promote([make(store, "b")])
        since, discard, left = moment(store), LocalBackend.discard, [removals]

        def cut_off(backend: LocalBackend, before: Mapping[str, float]) -> Iterator[str]:
            for key in discard(backend, before):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                yield key

        monkeypatch.setattr(LocalBackend, "discard", cut_off)
        with pytest.raises(KeyboardInterrupt):
            sweep(store, since)
        monkeypatch.undo()
        for one in made:
            found = store._backend.read(f"manifests/a/_whole/{one.id}.json") or store.find(one.cache_key)
            assert is_there(store, one) or not found
        sweep(store, since)
        assert not any(is_there(store, one) for one in made)
        assert list(store._backend.entries("manifests/a")) == []
        assert store.open(store.require("b")).is_dir()

    def test_a_writer_that_comes_while_the_sweep_removes_waits_for_it(
        self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the last look, before the removal; without the lock its head would name what is gone."""
        source = make(store, "a")
        since, look, writers = moment(store), LocalBackend._of, list[Thread]()

        def write() -> None:
            store.promote([make(store, "b", "b")])
            known = store.find(source.cache_key)
            again = (
                make(store, "a") if known is None else store.adopt(known, "a", None, Origin({}, source.computation, {}))
            )
            store.promote([again])

        def look_slowly(backend: LocalBackend, key: str) -> list[Entry]:
            found = look(backend, key)
            if key.startswith(("objects/", "addresses/")) and not writers:
                writers.append(Thread(target=write))
                writers[0].start()
                writers[0].join(0.3)
            return found

        monkeypatch.setattr(LocalBackend, "_of", look_slowly)
        sweep(store, since)
        writers[0].join(30)
        for asset in ("a", "b"):
            head = store.require(asset)
            assert ArtifactStore(store.base).open(head).is_dir()
            assert store.find(head.cache_key) is not None
            assert store.version(asset, head.id) == head

    def test_who_may_not_write_here_sweeps_nothing(self, store: ArtifactStore, tmp_path: Path) -> None:
        make(store, "a")
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").symlink_to(tmp_path / "no" / "such")
        with pytest.raises(ArtifactError, match=f"{tmp_path}/lock: cannot be opened; run this as the user whose store"):
            sweep(store)
