"""A store, on each kind of place."""

import time
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """Both storage back ends go through the same tests."""
    if request.param == "local":
        return ArtifactStore(str(tmp_path / "store"))
    endpoint = request.getfixturevalue("s3_server")
    import s3fs

    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": endpoint}}
    bucket = f"bucket-{time.time_ns()}"
    s3fs.S3FileSystem(**options).mkdir(bucket)
    return ArtifactStore(f"s3://{bucket}/base", **options)
