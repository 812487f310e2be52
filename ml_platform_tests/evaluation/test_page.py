from ml_platform_tests.evaluation.examples import evaluation
from ml_platform_tests.platform import Platform


def page_of(platform: Platform) -> str:
    artifact = platform.store.require("flight_delays/evaluation")
    return (platform.store.open(artifact) / "report.html").read_text()


def test_the_page_needs_nothing_else(made: Platform) -> None:
    page = page_of(made)
    assert page.count("data:image/png;base64,") == 5
    for outside in ("http://", "https://", "<script", "<link"):
        assert outside not in page


def test_values_from_data_are_escaped() -> None:
    from ml_platform.evaluation.page import render_page

    assert "&lt;b&gt;bold&lt;/b&gt;" in render_page(evaluation(description="<b>bold</b>"), {})
