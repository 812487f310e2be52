"""The real webserver and daemon: pages looked at in a real browser, backfills as the UI launches them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ml_platform.runtime.environment import thread_count
from ml_platform_tests.launchers.clusters import beside, components, spans_of_steps, two_clusters
from ml_platform_tests.platform import Platform, small_yaml
from ml_platform_tests.servers import PATIENT_SECONDS, Server, dagster_servers, location_of

ON_GPU = ("      random_state: 0\n\nevaluation:", "      random_state: 0\n    launcher: gpu\n\nevaluation:")
CHANGED = [
    f"flight_delays/{part}" for part in ("boosted", "logistic", "selection", "evaluation", "approved", "predictions")
]
LEAK = ("    - minute_of_day\n", "    - minute_of_day\n    - dep_time\n    - dep_delay\n")


@pytest.fixture(scope="module")
def served(made: Platform) -> Iterator[Server]:
    location, environment = location_of(made.folder)
    with dagster_servers(made.folder / "dagster", location, **environment) as server:
        yield server


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    page.set_default_timeout(1000 * PATIENT_SECONDS)
    expect.set_options(timeout=1000 * PATIENT_SECONDS)
    yield page
    page.close()


def test_the_evaluations_page_shows_its_pictures_and_figures(served: Server, page: Page) -> None:
    page.goto(f"{served.url}/assets/flight_delays/evaluation")
    for name in ("roc", "calibration", "confusion", "by_month", "by_origin"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    expect(page.locator("img[alt=roc]")).to_be_visible()
    assert page.locator("img[alt=roc]").evaluate("image => image.naturalWidth") > 300


def test_a_frames_page_shows_grain_key_and_columns(served: Server, page: Page) -> None:
    page.goto(f"{served.url}/assets/flight_delays/departures")
    expect(page.get_by_text("One row: one scheduled flight. Key: time_hour, carrier, flight.").first).to_be_visible()
    expect(page.get_by_text("sched_dep_time").first).to_be_visible()


def test_the_graph_shows_every_asset(served: Server, page: Page, made: Platform) -> None:
    names = served.ask("{ assetNodes { assetKey { path } } }")["assetNodes"]
    found = {"/".join(node["assetKey"]["path"]) for node in names}
    assert found == {key.to_user_string() for key in made.definitions.resolve_all_asset_keys()}
    page.goto(f"{served.url}/asset-groups")
    for group in ("lake", "flight_delays"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    page.goto(f"{served.url}/assets")
    expect(page.get_by_text("preprocessing", exact=True).first).to_be_visible()


def test_the_report_shows_verdict_gates_and_every_picture(made: Platform, page: Page) -> None:
    path = made.store.open(made.store.require("flight_delays/evaluation")) / "report.html"
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    expect(page.get_by_text("gates passed")).to_be_visible()
    expect(page.get_by_text("log_loss_is_low_enough")).to_be_visible()
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) == 5
    assert all(width > 300 for width in widths)
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def messages(platform: Platform, run_id: str, part: str) -> list[str]:
    """Lists what a run's log says with some words in it."""
    events = [entry.dagster_event for entry in platform.instance.all_logs(run_id)]
    return [str(event.message) for event in events if event is not None and part in str(event.message)]


class TestBackfills:
    """The UI splits a mixed selection into runs by partitioning; what holds in one run must hold across them."""

    def assets(self, platform: Platform) -> list[str]:
        return [key.to_user_string() for key in platform.definitions.resolve_all_asset_keys()]

    @pytest.mark.full
    def test_a_backfill_on_two_clusters_makes_the_artifacts_of_one_run(self, tmp_path: Path, made: Platform) -> None:
        platform = Platform(tmp_path, small_yaml(ON_GPU))
        location, environment = location_of(tmp_path)
        home, cores = tmp_path / "dagster", thread_count()
        with two_clusters(tmp_path / "pods", home, (cores, cores), is_warm=True, **environment) as (
            cpu,
            gpu,
            launchers,
        ):
            declared = yaml.safe_load((home / "dagster.yaml").read_text())
            declared["run_launcher"]["config"]["launchers"] = launchers
            (home / "dagster.yaml").write_text(yaml.safe_dump(declared))
            with dagster_servers(home, location, **environment) as server:
                keys = platform.pipeline.features.spans.keys
                assert server.backfill(self.assets(platform), keys) == "COMPLETED_SUCCESS"
                assert len(server.runs()) > 1, "the backfill was one run: this test shows nothing"
            assert platform.digests() == made.digests()
            assert components(gpu) == ["flight_delays__boosted"]
            assert set(components(cpu)) == {"run"}
            (fitting,) = gpu.record
            run_id = fitting.labels["dagster/run-id"]
            spans = spans_of_steps(platform.instance, run_id)
            assert {"flight_delays__selection", "flight_delays__evaluation"} <= set(spans), sorted(spans)
            assert beside(fitting, spans) <= {"flight_delays__logistic"}, "the gpu is not held for other steps"

    @pytest.mark.parametrize("which", ["what other features change", pytest.param("all", marks=pytest.mark.full)])
    def test_a_leaking_feature_leaves_the_approval_and_what_hangs_on_it_as_they_were(
        self, tmp_path: Path, small_year: Path, which: str
    ) -> None:
        platform = Platform(shutil.copytree(small_year, tmp_path, dirs_exist_ok=True))
        before = {k: v for k, v in platform.digests().items() if "approved" in k or "predictions" in k}
        assert len(before) == 13
        platform.declare(small_yaml(LEAK, ON_GPU))
        location, environment = location_of(tmp_path)
        with dagster_servers(tmp_path / "dagster", location, **environment) as server:
            keys = platform.pipeline.features.spans.keys
            assets = self.assets(platform) if which == "all" else CHANGED
            assert server.backfill(assets, keys) == "COMPLETED_FAILED"
            sent = [message for run in server.runs() for message in messages(platform, run["id"], "goes to launcher")]
            assert "Step flight_delays__boosted goes to launcher gpu." in sent, (
                "on a laptop each step has its launcher too"
            )
        assert platform.report("flight_delays/evaluation").facts["metrics"]["roc_auc"] > 0.85
        assert {k: v for k, v in platform.digests().items() if "approved" in k or "predictions" in k} == before
