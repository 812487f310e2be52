"""The second pipeline, whole and on its real images: ten classes, no partitions, a network, in Dagster and a notebook."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from ml_platform import Pipeline, check_transformer
from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.reports import page_path
from ml_platform.pipeline.discovery import declared_pipelines
from ml_platform.runtime import nodes_of
from ml_platform.runtime.diff import Side, compare
from ml_platform.sources.digits import IMAGES
from ml_platform_tests.platform import Platform


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = Platform(tmp_path_factory.mktemp("digits"), declared_pipelines()["digits"].read_text(), (IMAGES,))
    assert platform.run().success
    return platform


@pytest.fixture
def page(browser_path: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def test_the_network_is_approved_and_better_than_the_published_svc(digits: Platform) -> None:
    facts = digits.report("digits/evaluation").facts
    assert (facts["rows_train"], facts["rows_test"]) == (898, 899)
    assert facts["models"]["svc"]["metrics"]["accuracy"] == pytest.approx(0.97, abs=0.005)
    assert facts["metrics"]["accuracy"] >= 0.97
    assert facts["best"] == digits.report("digits/approved").facts["model"] == "network"
    counts = facts["confusion"]["counts"]
    assert sum(map(sum, counts)) == 899
    assert sum(row[place] for place, row in enumerate(counts)) / 899 == pytest.approx(facts["metrics"]["accuracy"])


def test_predictions_give_a_digit_and_the_probability_of_each(digits: Platform) -> None:
    frame = digits.frames("digits/predictions").read_all()
    assert list(frame.columns) == ["image", "predicted_digit", *(f"probability_{digit}" for digit in range(10))]
    assert len(frame) == 1797
    probabilities = frame.filter(like="probability_")
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1)
    assert (probabilities.to_numpy().argmax(axis=1) == frame["predicted_digit"]).all()


def test_the_network_lies_in_the_store_without_pickle(digits: Platform) -> None:
    artifact = digits.store.require("digits/network")
    folder = digits.store.open(artifact)
    assert sorted(file.name for file in artifact.files) == ["network.json", "network.safetensors"]
    assert json.loads((folder / "network.json").read_text())
    assert digits.pipeline.spec.models["network"].launcher == ("gpu",)


@pytest.mark.full
def test_a_notebook_makes_the_same_bytes_and_the_same_answers(digits: Platform) -> None:
    store = ArtifactStore(str(digits.folder / "notebook"))
    pipeline = Pipeline.load(digits.folder / "pipeline.yaml", store=store, verbose=False).fit()
    made = pipeline.materialize_all().artifacts
    store.promote(artifact for parts in made.values() for artifact in parts.values())
    compared = list(compare(nodes_of(digits.pipeline), Side("notebook", store), Side("dagster", digits.store)))
    assert [difference for *_, difference in compared if difference] == []
    assert len(compared) == 8
    said = pipeline.predict_proba(pipeline.sources())
    assert (said == digits.frames("digits/predictions").read_all().filter(like="probability_").to_numpy()).all()


@pytest.mark.full
def test_its_step_keeps_its_promises_on_its_rows(digits: Platform) -> None:
    """The class itself is tried in transformers/test_transformers; sixty-six columns make all of it long."""
    (step,) = digits.pipeline.steps.values()
    rows, promises = digits.frames("lake/digits").read_all().head(200), ("rows", "row_wise", "partition_invariance")
    report = check_transformer(step.build(), rows, promises=promises)
    assert report.broken == [], report


def test_the_report_shows_which_digits_are_mistaken(digits: Platform, page: Page) -> None:
    page.goto(page_path(digits.store, digits.store.require("digits/evaluation")).as_uri())
    expect(page.get_by_text("gates passed")).to_be_visible()
    expect(page.get_by_text("accuracy on test", exact=True)).to_be_visible()
    for name in ("confusion", "models"):
        width = page.get_by_role("img", name=name).evaluate("image => image.naturalWidth")
        assert width > 300
