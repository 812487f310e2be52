import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore, Origin
from ml_platform.artifacts.artifact import Artifact
from ml_platform.errors import ArtifactError


def add(store: ArtifactStore, text: str, partition: str | None = None, **files: str) -> Artifact:
    def write(folder: Path) -> dict[str, int]:
        (folder / "data.txt").write_text(text)
        for name, content in files.items():
            (folder / name).write_text(content)
        return {"length": len(text)}

    return store.add("lake/words", partition, "text", write, Origin({"lake/source": "1234"}))


def read(store: ArtifactStore, partition: str | None = None) -> str:
    return (store.open(store.require("lake/words", partition)) / "data.txt").read_text()


def test_an_added_value_is_seen_only_after_promotion(store: ArtifactStore) -> None:
    artifact = add(store, "one")
    assert store.current("lake/words") is None
    store.promote([artifact])
    assert store.current("lake/words") == artifact
    assert read(store) == "one"


def test_the_newest_promotion_is_current_and_the_former_version_stays_readable(store: ArtifactStore) -> None:
    first, second = add(store, "one"), add(store, "two")
    store.promote([first])
    store.promote([second])
    assert read(store) == "two"
    assert store.version("lake/words", first.id) == first
    assert (store.open(first) / "data.txt").read_text() == "one"


def test_partitions_are_listed_by_their_keys(store: ArtifactStore) -> None:
    store.promote([add(store, key, key) for key in ("2013-02-01", "2013-01-01", "a/b c")])
    assert store.partitions("lake/words") == ["2013-01-01", "2013-02-01", "a/b c"]
    assert read(store, "a/b c") == "a/b c"
    assert store.partitions("lake/nothing") == []


def test_equal_values_have_equal_digests_and_ids(store: ArtifactStore) -> None:
    assert add(store, "one") == add(store, "one")
    assert add(store, "one").digest != add(store, "two").digest
    assert add(store, "one", extra="x").digest != add(store, "one").digest


def test_a_missing_value_is_refused_by_asset_partition_and_next_step(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"lake/words\[2013-05-01\]: nothing there.*materialize it first"):
        store.require("lake/words", "2013-05-01")
    with pytest.raises(ArtifactError, match="lake/words: no version 77"):
        store.version("lake/words", "77")


def compute(store: ArtifactStore, text: str, asset: str = "lake/words", computation: str = "count") -> Artifact:
    def write(folder: Path) -> dict[str, int]:
        (folder / "data.txt").write_text(text)
        return {}

    return store.add(asset, None, "text", write, Origin({"made": "once"}, {"node": computation}, {}))


def test_a_computation_is_known_by_its_address_to_every_asset(store: ArtifactStore) -> None:
    artifact = compute(store, "one")
    assert artifact.cache_key is not None
    known = store.find(artifact.cache_key)
    assert known == artifact
    adopted = store.adopt(known, "other/words", "p", Origin({"made": "again"}))
    assert (adopted.digest, adopted.cache_key, adopted.computation) == (
        artifact.digest,
        artifact.cache_key,
        artifact.computation,
    )
    assert (adopted.label, adopted.inputs) == ("other/words[p]", {"made": "again"})
    assert store.version("other/words", adopted.id, "p") == adopted
    assert store.current("other/words", "p") is None
    assert compute(store, "one", computation="another").cache_key != artifact.cache_key
    assert store.find(compute(store, "one", computation="another").cache_key) is not None
    assert store.find("0" * 64) is None


def test_of_two_results_of_one_computation_the_first_stands(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    first = compute(store, "one")
    second = compute(store, "two")
    assert second.digest == first.digest
    assert "lake/words: the same computation gave other bytes before" in caplog.text
    assert "is the step random" in caplog.text
    store.forget(first.cache_key)
    assert compute(store, "two").digest != first.digest


def test_what_lost_a_file_is_not_known_and_is_computed_again(store: ArtifactStore) -> None:
    artifact = compute(store, "one")
    (file,) = artifact.files
    key = f"objects/{artifact.digest[:2]}/{artifact.digest}/{file.name}"
    store._backend.remove(key)
    assert store.find(artifact.cache_key) is None
    store.promote([compute(store, "one")])
    assert store.find(artifact.cache_key) is not None
    assert read(store) == "one"


def test_what_is_damaged_without_changing_its_size_is_forgotten_when_it_is_read(store: ArtifactStore) -> None:
    """Else "materialize the asset again" would reuse the damage for ever."""
    artifact = compute(store, "one")
    store._backend.write(f"objects/{artifact.digest[:2]}/{artifact.digest}/data.txt", b"oNe")
    store._backend.forget(f"objects/{artifact.digest[:2]}/{artifact.digest}")
    with pytest.raises(ArtifactError, match="is damaged"):
        store.open(artifact)
    assert store.find(artifact.cache_key) is None
    store.promote([compute(store, "one")])
    assert read(store) == "one"


def test_a_branch_reads_production_where_it_has_nothing_and_moves_its_own_heads_alone(store: ArtifactStore) -> None:
    branch = store.on_branch("mine")
    store.promote([add(store, "one"), add(store, "p", "p")])
    assert read(branch) == "one"
    branch.promote([add(branch, "two"), add(branch, "q", "q")])
    assert (read(branch), read(store)) == ("two", "one")
    assert (branch.partitions("lake/words"), store.partitions("lake/words")) == (["p", "q"], ["p"])


def test_names_are_no_way_out_of_a_folder(store: ArtifactStore) -> None:
    store.promote([add(store, "one"), add(store, "dots", "..")])
    for name in ("..", ".", "../heads", "a/b"):
        branch = store.on_branch(name)
        branch.promote([add(branch, f"of {name}")])
        assert (read(branch), read(store)) == (f"of {name}", "one")
    assert store.partitions("lake/words") == [".."]


def test_small_files_that_are_damaged_heal(store: ArtifactStore) -> None:
    artifact = compute(store, "one")
    assert artifact.cache_key is not None
    manifest = f"manifests/lake/words/_whole/{artifact.id}.json"
    for key in (f"addresses/{artifact.cache_key[:2]}/{artifact.cache_key}.json", manifest, "notes/code/x.json"):
        store._backend.write(key, b"{")
    assert store.noted("code/x") is None
    assert store.find(artifact.cache_key) is None
    assert compute(store, "one") == artifact
    assert store.find(artifact.cache_key) == artifact
    assert store.version("lake/words", artifact.id) == artifact


def test_notes_are_kept(store: ArtifactStore) -> None:
    assert store.noted("seconds/a/b") is None
    store.note("seconds/a/b", {"": 1.5})
    store.note("seconds/a/b", {"": 2.5})
    assert store.noted("seconds/a/b") == {"": 2.5}


def test_one_of_two_creators_wins(store: ArtifactStore) -> None:
    assert store._backend.create("x/y", b"one") is True
    assert store._backend.create("x/y", b"two") is False
    assert store._backend.read("x/y") == b"one"
    assert store._backend.names("x") == ["y"]


def test_a_damaged_download_is_fetched_again(s3_server: str) -> None:
    import s3fs

    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": s3_server}}
    bucket = f"bucket-{time.time_ns()}"
    s3fs.S3FileSystem(**options).mkdir(bucket)
    store = ArtifactStore(f"s3://{bucket}/base", **options)
    artifact = add(store, "one")
    (store.open(artifact) / "data.txt").write_text("oNe")
    fresh = ArtifactStore(f"s3://{bucket}/base", **options)
    assert (fresh.open(artifact) / "data.txt").read_text() == "one"


class TestLocalFolder:
    """What only a folder can show: damage, litter, killed writers."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        return ArtifactStore(str(tmp_path))

    def test_a_damaged_file_is_refused_by_path_and_mended_by_writing_again(self, store: ArtifactStore) -> None:
        artifact = add(store, "one")
        store.promote([artifact])
        path = store.open(artifact) / "data.txt"
        path.write_text("oNe")
        fresh = ArtifactStore(store.base)
        with pytest.raises(ArtifactError, match=rf"lake/words: file {path} is damaged.*materialize the asset again"):
            fresh.open(artifact)
        add(fresh, "one")
        assert read(fresh) == "one"

    def test_a_missing_file_is_refused_by_path(self, store: ArtifactStore) -> None:
        artifact = add(store, "one")
        (store.open(artifact) / "data.txt").unlink()
        with pytest.raises(ArtifactError, match=r"data\.txt is missing"):
            ArtifactStore(store.base).open(artifact)

    def test_a_head_that_is_no_manifest_is_refused_by_path(self, store: ArtifactStore, tmp_path: Path) -> None:
        store.promote([add(store, "one")])
        (tmp_path / "heads/lake/words/_whole.json").write_text("{}")
        with pytest.raises(ArtifactError, match=r"heads/lake/words/_whole\.json: not a manifest"):
            store.current("lake/words")

    def test_a_failing_writer_leaves_nothing(self, store: ArtifactStore, tmp_path: Path) -> None:
        def write(folder: Path) -> dict[str, int]:
            (folder / "data.txt").write_text("half")
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            store.add("lake/words", None, "text", write)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_killed_writers_leave_no_torn_value_and_their_litter_is_swept(self, tmp_path: Path) -> None:
        """kill -9 at growing moments of a writer that writes for ever; every visible version must be whole."""
        tried, seen = 40, set()
        for attempt in range(tried):
            command = [sys.executable, "-c", WRITER, str(tmp_path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                time.sleep(0.002 * attempt)
                os.kill(writer.pid, signal.SIGKILL)
            artifact = ArtifactStore(str(tmp_path)).current("lake/words")
            if artifact is not None:
                text = (ArtifactStore(str(tmp_path)).open(artifact) / "data.txt").read_text()
                assert len(set(text.split())) == 1, "a torn value"
                seen.add(text)
        assert len(seen) > tried / 4, "the writers were killed before they wrote anything"
        add(ArtifactStore(str(tmp_path)), "after")
        assert list((tmp_path / "staging").iterdir()) == []


WRITER = """
import itertools, os, sys
from ml_platform.artifacts import ArtifactStore, Origin
store = ArtifactStore(sys.argv[1])
print("ready", flush=True)
for number in itertools.count():
    def write(folder):
        with (folder / "data.txt").open("w") as file:
            for _ in range(50):
                file.write(f"{os.getpid()}-{number} " * 200)
                file.flush()
        return {}
    store.promote([store.add("lake/words", None, "text", write)])
"""
