"""Takes the screenshots in docs/pictures from a materialized local instance: `make pictures`, after `make demo`."""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ml_platform.artifacts.home import dagster_home
from ml_platform.cli.evaluations import last_evaluation
from ml_platform_tests.servers import Server, dagster_servers, wait_until

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
LAUNCH = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  ... on LaunchRunSuccess { run { runId } } } }"""


def main() -> None:
    os.environ.setdefault("DAGSTER_HOME", str(dagster_home()))
    report = Path(last_evaluation("flight_delays")["report"])
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        sys.exit("chromium is missing; as root: apt-get install chromium")
    location = ["-w", str(ROOT / "workspace.yaml")]
    with dagster_servers(dagster_home(), location) as server, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        page = browser.new_page(viewport={"width": 2400, "height": 760})
        _graph(page, server.url)
        page.set_viewport_size({"width": 1500, "height": 1100})
        _asset(page, server.url, "evaluation", open_picture=True)
        _asset(page, server.url, "departures")
        _mixed_run(page, server)
        page.set_viewport_size({"width": 1200, "height": 900})
        page.goto(report.as_uri())
        page.screenshot(path=FOLDER / "report.png", full_page=True)
        browser.close()
    print(f"docs/pictures: {', '.join(sorted(path.name for path in FOLDER.glob('*.png')))}")


def _graph(page: Page, url: str) -> None:
    """The lineage of one pipeline, which is a group."""
    page.goto(f"{url}/locations/ml_platform/asset-groups/flight_delays")
    page.wait_for_load_state("networkidle")
    page.get_by_text("Hide navigation").click()
    page.reload()  # fits the graph to the window again
    page.get_by_text("predictions").first.wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=FOLDER / "asset_graph.png", clip={"x": 70, "y": 260, "width": 2330, "height": 350})


def _asset(page: Page, url: str, name: str, *, open_picture: bool = False) -> None:
    page.goto(f"{url}/assets/flight_delays/{name}")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(3000)
    if open_picture:
        page.get_by_text("[Show Markdown]").first.click()
        page.wait_for_timeout(1000)
    page.screenshot(path=FOLDER / f"{name}_asset.png")


def _mixed_run(page: Page, server: Server) -> None:
    """A run whose steps went to two launchers: its timeline, and what its log says of where."""
    selector = {"repositoryLocationName": "ml_platform", "repositoryName": "__repository__", "pipelineName": "digits"}
    config = {"resources": {"store": {"config": {"reuse": False}}}}
    params = {"selector": selector, "runConfigData": config, "mode": "default"}
    run_id = server.ask(LAUNCH, params=params)["launchPipelineExecution"]["run"]["runId"]
    wait_until(lambda: next(run for run in server.runs() if run["id"] == run_id)["status"] == "SUCCESS", 300, "run")
    page.goto(f"{server.url}/runs/{run_id}")
    page.wait_for_load_state("networkidle")
    page.get_by_placeholder("Filter…").first.fill("launcher")
    page.wait_for_timeout(3000)
    page.screenshot(path=FOLDER / "mixed_run.png", clip={"x": 240, "y": 0, "width": 1260, "height": 640})


if __name__ == "__main__":
    main()
