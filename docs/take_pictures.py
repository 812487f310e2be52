"""Takes the screenshots in docs/pictures from a materialized local instance: `make pictures`, after `make demo`."""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ml_platform.artifacts.home import dagster_home, project_root
from ml_platform.cli.evaluations import last_evaluation
from ml_platform_tests.servers import dagster_servers

FOLDER = Path(__file__).parent / "pictures"


def main() -> None:
    os.environ.setdefault("DAGSTER_HOME", str(dagster_home()))
    report = Path(last_evaluation("flight_delays")["report"])
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        sys.exit("chromium is missing; as root: apt-get install chromium")
    location = ["-w", str(project_root() / "workspace.yaml")]
    with dagster_servers(dagster_home(), location) as server, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        page = browser.new_page(viewport={"width": 2400, "height": 760})
        _graph(page, server.url)
        page.set_viewport_size({"width": 1500, "height": 1100})
        _asset(page, server.url, "evaluation", open_picture=True)
        _asset(page, server.url, "departures")
        page.set_viewport_size({"width": 1200, "height": 900})
        page.goto(report.as_uri())
        page.screenshot(path=FOLDER / "report.png", full_page=True)
        browser.close()
    print(f"docs/pictures: {', '.join(sorted(path.name for path in FOLDER.glob('*.png')))}")


def _graph(page: Page, url: str) -> None:
    """The whole lineage, every group unfolded."""
    page.goto(f"{url}/asset-groups")
    page.wait_for_load_state("networkidle")
    page.get_by_text("Hide navigation").click()
    folded = page.locator('[aria-label="unfold_more"]')
    folded.first.wait_for()
    while folded.count():
        folded.first.click()
        page.wait_for_timeout(1000)
        page.reload()  # fits the graph to the window again, so that the next one is in sight
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)
    page.wait_for_timeout(3000)
    graph_alone = {"x": 372, "y": 112, "width": 2028, "height": 610}
    page.screenshot(path=FOLDER / "asset_graph.png", clip=graph_alone)


def _asset(page: Page, url: str, name: str, *, open_picture: bool = False) -> None:
    page.goto(f"{url}/assets/flight_delays/{name}")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(3000)
    if open_picture:
        page.get_by_text("[Show Markdown]").first.click()
        page.wait_for_timeout(1000)
    page.screenshot(path=FOLDER / f"{name}_asset.png")


if __name__ == "__main__":
    main()
