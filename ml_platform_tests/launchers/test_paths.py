"""However a run comes about, its steps go to their clusters: schedule, sensor, backfill, run retry."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from ml_platform_tests.crashes import FOLDER
from ml_platform_tests.kubernetes import Cluster, Ran
from ml_platform_tests.launchers.clusters import component, two_clusters
from ml_platform_tests.launchers.rig import MODULE, instance_yaml
from ml_platform_tests.servers import PATIENT_SECONDS, Server, dagster_servers, wait_until

pytestmark = pytest.mark.full

PLACE = {"repositoryLocationName": MODULE, "repositoryName": "__repository__"}
START_SCHEDULE = """mutation ($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
  __typename ... on PythonError { message } } }"""
START_SENSOR = """mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
  __typename ... on PythonError { message } } }"""
LAUNCH = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on PythonError { message } } }"""
WAYS = {
    "schedule": "dagster/schedule_name",
    "sensor": "dagster/sensor_name",
    "backfill": "dagster/backfill",
    "retry": "dagster/retry_number",
}
CHAIN = {"cpu": ["run"], "gpu": ["trained", "trained_looks_right"]}
EXPECTED = {
    "schedule": CHAIN,
    "sensor": CHAIN,
    "backfill": {"cpu": ["run"], "gpu": ["daily_model"]},
    "retry": {"cpu": [], "gpu": ["run"]},  # what failed is all that it executes
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Cluster, Cluster]]:
    """Runs of all kinds at once, on both clusters, when they are over."""
    folder = tmp_path_factory.mktemp("paths")
    home = folder / "home"
    home.mkdir()
    with two_clusters(folder / "pods", home, is_warm=True, **{FOLDER: str(folder)}) as (cpu, gpu, launchers):
        retries = {"enabled": True, "max_retries": 0}
        (home / "dagster.yaml").write_text(instance_yaml(launchers, run_retries=retries))
        with dagster_servers(home, ["-m", MODULE]) as server:
            start(server)
            wait_until(lambda: all(run_of(server, way) for way in WAYS), PATIENT_SECONDS, "runs of all kinds")
            yield server, cpu, gpu


def start(server: Server) -> None:
    """Has each kind of run come about."""
    server.ask(START_SCHEDULE, selector={**PLACE, "scheduleName": "chain_schedule"})
    server.ask(START_SENSOR, selector={**PLACE, "sensorName": "when_asked"})
    assets = [{"path": ["quick_one"]}, {"path": ["works_the_second_time"]}]
    selector = {**PLACE, "pipelineName": "__ASSET_JOB", "assetSelection": assets}
    tags = [{"key": "dagster/max_retries", "value": "1"}, {"key": "dagster/retry_strategy", "value": "FROM_FAILURE"}]
    params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": tags}}
    assert server.ask(LAUNCH, params=params)["launchPipelineExecution"]["__typename"] == "LaunchRunSuccess"
    partitions = ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert server.backfill(["daily", "daily_model"], partitions) == "COMPLETED_SUCCESS"


def run_of(server: Server, way: str) -> dict[str, Any] | None:
    """Finds a successful run that came about in some way."""
    for run in server.runs():
        if WAYS[way] in {tag["key"] for tag in run["tags"]} and run["status"] == "SUCCESS":
            return run
    return None


def pods_of(cluster: Cluster, run_id: str) -> list[Ran]:
    return [ran for ran in cluster.record if ran.labels["dagster/run-id"] == run_id]


@pytest.mark.parametrize("way", WAYS)
def test_each_step_has_its_cluster(everything: tuple[Server, Cluster, Cluster], way: str) -> None:
    server, cpu, gpu = everything
    run = run_of(server, way)
    assert run is not None
    found = {cluster.name: list(map(component, pods_of(cluster, run["id"]))) for cluster in (cpu, gpu)}
    assert found == EXPECTED[way]


def test_the_runs_page_says_where_each_step_went(
    everything: tuple[Server, Cluster, Cluster], browser_path: str
) -> None:
    server, _, _ = everything
    run = run_of(server, "sensor")
    assert run is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(1000 * PATIENT_SECONDS)
        page.goto(f"{server.url}/runs/{run['id']}")
        page.get_by_placeholder("Filter…").first.fill("launcher")
        message = "This run goes to launcher cpu, but trained, trained_looks_right to launcher gpu."
        expect(page.get_by_text(message)).to_be_visible()
        expect(page.get_by_text("Step trained goes to launcher gpu.")).to_be_visible()
        page.goto(f"{server.url}/runs?q[0]=tag:ml_platform/launcher%3Dgpu")
        expect(page.get_by_text("ml_platform/launcher: gpu").first).to_be_visible()
        browser.close()
