from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.artifacts import ArtifactStore, Frames
from ml_platform.artifacts.frames import write_frame
from ml_platform.errors import ArtifactError


def keep(store: ArtifactStore, frames: dict[str | None, pd.DataFrame]) -> Frames:
    made = [
        store.add("lake/t", key, "frame", lambda folder, frame=frame: write_frame(folder, frame))
        for key, frame in frames.items()
    ]
    store.promote(made)
    return Frames.current(store, "lake/t", sorted(k for k in frames if k) or None)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": pd.Series(["a", None, "c"], dtype="str"),
            "whole": [1, 2, 3],
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "real": [0.5, float("nan"), 1.5],
            "flag": [True, False, True],
            "at": pd.to_datetime(["2013-01-01", "2013-01-02", None], utc=True).as_unit("us"),
            "kind": pd.Categorical(["x", "y", "x"]),
        }
    )


def test_every_column_type_comes_back_as_it_went(store: ArtifactStore, frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(keep(store, {None: frame}).read(None), frame)


def test_equal_frames_are_equal_bytes(store: ArtifactStore, frame: pd.DataFrame) -> None:
    first = keep(store, {None: frame}).parts[None]
    assert keep(store, {None: frame.copy()}).parts[None].digest == first.digest


def test_the_file_carries_its_format_and_the_manifest_its_rows(store: ArtifactStore, frame: pd.DataFrame) -> None:
    frames = keep(store, {None: frame})
    assert pq.read_schema(frames.path(None)).metadata[b"ml_platform.frame_version"] == b"1"
    assert frames.parts[None].facts["rows"] == 3
    assert frames.columns == list(frame.columns)


def test_a_stream_of_batches_is_written_as_it_comes(store: ArtifactStore) -> None:
    batches = [pa.record_batch({"x": [1, 2]}), pa.record_batch({"x": [3]})]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    artifact = store.add("lake/t", None, "frame", lambda folder: write_frame(folder, reader))
    assert artifact.facts["rows"] == 3


def test_partitions_are_read_in_order_and_by_column(store: ArtifactStore) -> None:
    frames = keep(
        store, {"2013-02-01": pd.DataFrame({"x": [2], "y": [0]}), "2013-01-01": pd.DataFrame({"x": [1], "y": [0]})}
    )
    assert frames.read_all(["x"]).to_dict("list") == {"x": [1, 2]}
    assert frames.only(["2013-02-01"]).read_all()["x"].tolist() == [2]


def test_a_missing_partition_is_refused_by_name(store: ArtifactStore) -> None:
    keep(store, {key: pd.DataFrame({"x": [1]}) for key in ("2013-01-01", "2013-03-01")})
    frames = Frames.current(store, "lake/t", ["2013-01-01", "2013-02-01", "2013-03-01", "2013-04-01"])
    with pytest.raises(ArtifactError, match="lake/t: no partition 2013-04-01; materialize"):
        frames.only(["2013-04-01"])
    with pytest.raises(ArtifactError, match="no partition 2013-02-01;"):
        frames.read_all()


def test_an_asset_that_was_never_made_is_refused_by_name(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="lake/t: nothing there; materialize it first"):
        Frames.current(store, "lake/t").read_all()
