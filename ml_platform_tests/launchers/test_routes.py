"""A route is what the code declared: steps to execute only, checks with their asset, nothing from a run's tags."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.compat.dagster import create_execution_plan
from ml_platform.compat.dagster_steps import ExecutionPlanSnapshot, snapshot_from_execution_plan
from ml_platform.errors import LaunchError
from ml_platform.launchers import ISOLATED_TAG, LAUNCHER_TAG
from ml_platform.launchers.routes import Route, escalation_of, is_isolated, route_of

KNOWN = ("cpu", "gpu", "highmem")


def plan_of(**launchers: Any) -> ExecutionPlanSnapshot:
    """Plans assets that ask for launchers; None asks for none."""
    assets = [
        dg.asset(name=name, op_tags={LAUNCHER_TAG: asked} if asked else {})(lambda: None)
        for name, asked in launchers.items()
    ]

    @dg.asset_check(asset="model")
    def is_finite() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    checks = [is_finite] if "model" in launchers else []
    return snapshot(dg.Definitions(assets=assets, asset_checks=checks))


def snapshot(definitions: dg.Definitions) -> ExecutionPlanSnapshot:
    job = definitions.resolve_implicit_global_asset_job_def()
    return snapshot_from_execution_plan(create_execution_plan(job), "")


def route(plan: ExecutionPlanSnapshot, *steps: str, tags: Mapping[str, str] = {}) -> Route:
    return route_of(plan, steps or None, "cpu", KNOWN, lambda _: tags)


@pytest.mark.parametrize(
    ("launchers", "expected"),
    [
        ({"a": None, "b": None}, Route("cpu", {})),
        ({"a": "gpu", "b": "gpu"}, Route("gpu", {})),
        ({"a": "gpu", "b": ["gpu", "highmem"]}, Route("gpu", {})),
        ({"a": None, "b": "gpu"}, Route("cpu", {"b": "gpu"})),
        ({"a": "highmem", "b": "gpu"}, Route("cpu", {"a": "highmem", "b": "gpu"})),
        ({"model": "gpu"}, Route("gpu", {})),
        ({"model": "gpu", "b": None}, Route("cpu", {"model": "gpu", "model_is_finite": "gpu"})),
    ],
)
def test_a_run_goes_where_all_its_steps_go_else_to_the_default(launchers: Any, expected: Route) -> None:
    assert route(plan_of(**launchers)) == expected


def test_only_steps_that_are_executed_count() -> None:
    plan = plan_of(a=None, b="gpu", c="gone")
    assert route(plan, "b") == Route("gpu", {})
    assert route(plan, "a") == Route("cpu", {})
    with pytest.raises(LaunchError, match="step c asks for launcher 'gone'"):
        route(plan, "c")


def test_a_check_without_its_asset_in_the_plan_goes_by_the_assets_tags() -> None:
    @dg.asset_check(asset="elsewhere")
    def is_finite() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    plan = snapshot(dg.Definitions(asset_checks=[is_finite]))
    assert route(plan, tags={LAUNCHER_TAG: "gpu"}) == Route("gpu", {})
    assert route(plan) == Route("cpu", {})


def test_a_check_that_names_a_launcher_goes_there() -> None:
    @dg.asset(op_tags={LAUNCHER_TAG: "gpu"})
    def model() -> None: ...

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec("is_small", asset="model")], op_tags={LAUNCHER_TAG: "highmem"})
    def checks() -> Any: ...

    plan = snapshot(dg.Definitions(assets=[model], asset_checks=[checks]))
    assert route(plan).elsewhere == {"model": "gpu", "checks": "highmem"}


@pytest.mark.parametrize("text", ["[]", '["cpu", "cpu"]', '["cpu"', "[1"])
def test_an_escalation_names_launchers_and_each_once(text: str) -> None:
    with pytest.raises(LaunchError, match="expected a list of at least one name"):
        escalation_of({LAUNCHER_TAG: text})


def test_every_launcher_of_an_escalation_must_exist() -> None:
    with pytest.raises(LaunchError, match=r"step a asks for launcher 'higmem', .* did you mean 'highmem'"):
        route(plan_of(a=["cpu", "higmem"]))


def test_a_step_with_a_pod_of_its_own_kind_is_isolated() -> None:
    own = ({ISOLATED_TAG: "true"}, {"dagster-k8s/config": "{}"}, {"dagster-ray/config": "{}"})
    assert [is_isolated(tags) for tags in (None, {}, *own)] == [False, False, True, True, True]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([None, *KNOWN]), min_size=1))
def test_every_step_goes_where_it_asks_and_no_other_launcher_is_touched(launchers: dict[str, str | None]) -> None:
    found = route(plan_of(**launchers))
    wanted = {step: asked or "cpu" for step, asked in launchers.items()}
    assert {step: found.of(step) for step in launchers} == wanted
    assert {found.launcher, *found.elsewhere.values()} <= {*wanted.values(), "cpu"}


def test_a_route_reads_as_a_sentence() -> None:
    message = str(Route("cpu", {"b": "gpu", "a": "gpu", "c": "highmem"}))
    assert message == "launcher cpu, but a, b to launcher gpu; c to launcher highmem"
