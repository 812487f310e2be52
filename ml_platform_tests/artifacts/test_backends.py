"""Which places keep a store's promises."""

from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.folders import LocalBackend
from ml_platform.errors import ArtifactError
from ml_platform.resources import StoreResource


def added(store: ArtifactStore) -> Artifact:
    artifact = store.add("lake/words", None, "text", lambda folder: {"length": (folder / "a").write_text("one")})
    store.promote([artifact])
    return artifact


@pytest.mark.parametrize("url", ["file://{}/store", "file://localhost{}/store"])
def test_a_files_url_is_the_plain_folder(tmp_path: Path, url: str) -> None:
    store = ArtifactStore(url.format(tmp_path))
    assert isinstance(store._backend, LocalBackend)
    artifact = added(store)
    assert ArtifactStore(str(tmp_path / "store")).require("lake/words") == artifact
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        "heads",
        "manifests",
        "objects",
        "staging",
        "lock",
    }


@pytest.mark.parametrize("url", ["file://server/share", "file://store", "file:///a%20b", "file:/a", "file:store"])
def test_a_files_url_that_could_mean_two_places_is_refused(url: str) -> None:
    with pytest.raises(ArtifactError, match=f"{url}: expected a folder, file:///folder or s3://bucket/path"):
        ArtifactStore(url)


@pytest.mark.parametrize(
    "url",
    ["memory://store", "http://host/store", "gs://bucket/store", "az://c/store", "local:///a", "simplecache::s3://b/s"],
)
def test_a_place_that_does_not_keep_the_promises_is_refused_by_name(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = url.partition("://")[0]
    for opened in (ArtifactStore, lambda base: StoreResource(base=base).open()):
        with pytest.raises(
            ArtifactError, match=f"expected a folder, file:///folder or s3://.*; {scheme}:// is not known"
        ):
            opened(url)
    from ml_platform.artifacts import default_store

    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", url)
    with pytest.raises(ArtifactError, match=f"{scheme}:// is not known to show files whole"):
        default_store()
