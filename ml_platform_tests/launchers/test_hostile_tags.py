"""Hostile tag sets and run configurations come in by every door; no pod has anything beyond what is declared."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pytest
from dagster import RunsFilter
from dagster_graphql.schema import create_schema
from dagster_k8s import K8sRunLauncher
from graphql import GraphQLInputObjectType, get_named_type

from ml_platform.compat.dagster_k8s import UserDefinedDagsterK8sConfig, get_user_defined_k8s_config
from ml_platform.launchers.tag_policy import TagPolicy, describe_changes
from ml_platform_tests import tiers
from ml_platform_tests.launchers.doors import Platform, platform_in
from ml_platform_tests.launchers.stock_pods import FAILS, NO_TIME, StockPods, kinds_in, limits_off
from ml_platform_tests.launchers.tag_cases import CONFIG, DOORS, PODS, STEPS, TagSet, most_telling_first, tag_sets
from ml_platform_tests.launchers.tag_location import DECLARED

SETS, PART = 10_000, 250  # a daemon looks at all that are under way: more at a time would cost more each
STOCK_SHARE = 150  # of them go all the way through the stock platform, too
PARTS = tiers.parts("hostile tag sets, through the platform", SETS, PART)
# What Dagster, or the launcher afterwards, writes itself, whatever was asked for.
WRITTEN = {"dagster/code_location", "dagster/image", "ml_platform/launcher", "dagster/root_run_id",
           "dagster/parent_run_id", "dagster/partition", "dagster/partition_set", "dagster/backfill"}  # fmt: skip
POLICY = TagPolicy()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_in(tmp_path_factory.mktemp("hostile") / "home") as platform:
        yield platform


@pytest.fixture(scope="module")
def plain(platform: Platform) -> dict[str, str]:
    return {name: comparable(platform.plain(name)) for name in ("plain", "declared", "parted_job")}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_in(tmp_path_factory.mktemp("stock") / "home", is_stock=True) as platform:
        yield platform


def comparable(job: Mapping[str, Any]) -> str:
    """A whole job as the cluster was sent it, without what names this run and this launch."""
    of_api = ("uid", "resourceVersion", "generation", "creationTimestamp")
    metadata = {key: value for key, value in job["metadata"].items() if key not in of_api}
    ids = {metadata["labels"]["dagster/run-id"]: "RUN", metadata["labels"].get("ml-platform/launch", "-"): "LAUNCH"}
    digest = metadata.get("annotations", {}).get("ml-platform/spec", "-")
    text = json.dumps([metadata, job["spec"]], sort_keys=True)
    for found, name in (ids | {digest: "DIGEST"}).items():
        text = text.replace(found, name) if found != "-" else text
    return text


def beyond(platform: Platform, plain: Mapping[str, str], sets: Sequence[TagSet]) -> list[str]:
    """Says for each set what it got beyond what is declared."""
    runs = platform.launch(sets)
    jobs, logs = platform.jobs(), platform.logs("Tags that a run may not have were changed")
    found = platform.instance.get_runs(RunsFilter(run_ids=list(runs.values())))
    by_id = {run.run_id: run for run in found}
    wrong = []
    for one in sets:
        run_id = runs[one.number]
        if run_id not in jobs:
            wrong.append(f"{one.number}: no job")
        elif comparable(jobs[run_id]) != plain[one.job]:
            wrong.append(f"{one.number}: another job: {comparable(jobs[run_id])}")
        problems = [*beyond_limits(by_id[run_id]), *unlogged(one, by_id[run_id], logs.get(run_id, ""))]
        wrong += [f"{one.number}: {problem}" for problem in problems]
    platform.forget()
    return wrong


def beyond_limits(run: dg.DagsterRun) -> list[str]:
    """What is left on a run, read as Dagster's daemon, launcher and run process read it."""
    tags, settings = (
        run.tags,
        as_read(lambda text: get_user_defined_k8s_config({CONFIG: text}), run.tags.get(CONFIG, "{}")),
    )
    seconds = [tags[key] for key in ("dagster/max_runtime", "dagster/max_runtime_seconds") if key in tags]
    holds = {
        "priority": abs(as_read(int, tags.get("dagster/priority", "0")) or 0) <= POLICY.max_priority,
        "max_runtime": all(0 < (as_read(float, one) or 0) <= POLICY.max_runtime_seconds for one in seconds),
        "max_retries": 0 <= (as_read(int, tags.get("dagster/max_retries", "0")) or 0) <= POLICY.max_retries,
        "metrics": 30 <= (as_read(float, tags.get(".dagster/run_metrics_polling_interval", "30")) or 0) < math.inf,
        "failure": not tags.get("dagster/failure_reason") and not tags.get("dagster/will_retry"),
        "settings": settings is not None and (run.job_name == "declared" or settings == UserDefinedDagsterK8sConfig()),
        "address": tags.get(".dagster/grpc_info", "{}") == "{}",
    }
    return [f"{name} is beyond its limit: {tags}"[:2000] for name, is_held in holds.items() if not is_held]


def as_read(read: Callable[[str], Any], text: str) -> Any:
    """Reads a tag's value; None where Dagster cannot, and goes on without."""
    try:
        return read(text)
    except Exception:  # noqa: BLE001  (Kubernetes' models raise bare exceptions)
        return None


def unlogged(one: TagSet, run: dg.DagsterRun, log: str) -> list[str]:
    """What was changed without a word in the run's log."""
    changed = [key for key, value in one.as_dagster_reads.items() if run.tags.get(key) != value and key not in WRITTEN]
    return [f"{key[:100]!r} was changed, and the log does not say so" for key in changed if key[:100] not in log]


@pytest.fixture(scope="module")
def in_order() -> list[int]:
    return most_telling_first(range(SETS), least=tiers.CASES["hostile tag sets, through the platform"].full)


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_no_pod_has_anything_beyond_what_is_declared(
    platform: Platform, plain: Mapping[str, str], in_order: list[int], part: range
) -> None:
    assert beyond(platform, plain, list(tag_sets(in_order[part.start : part.stop]))) == []


@pytest.mark.full
def test_the_first_sets_bring_each_kind_and_the_next_each_kind_by_each_door(in_order: list[int]) -> None:
    takes = tiers.CASES["hostile tag sets, through the platform"]
    all_kinds = {kind for one in tag_sets(range(SETS)) for kind in one.kinds}
    first, next_ones = list(tag_sets(in_order[: takes.quick])), list(tag_sets(in_order[: takes.full]))
    assert {kind for one in first for kind in one.kinds} == all_kinds
    assert {one.door for one in first} == set(DOORS)
    every = {(one.door, kind) for one in tag_sets(range(SETS)) for kind in one.kinds}
    assert {(one.door, kind) for one in next_ones for kind in one.kinds} == every


def test_after_the_policy_no_set_is_beyond_a_limit_and_all_that_changed_is_told() -> None:
    """All sets, by the policy alone."""
    declared = {"declared": {key: json.dumps(value) for key, value in DECLARED.items()}}
    wrong = []
    for one in tag_sets(range(SETS)):
        tags = one.as_dagster_reads
        changes = POLICY.changes(tags, declared.get(one.job, {}))
        run = dg.DagsterRun(job_name=one.job, tags={**tags, **changes})
        said = describe_changes(run.with_tags(tags), changes)
        wrong += [f"{one.number}: {problem}" for problem in [*beyond_limits(run), *unlogged(one, run, said)]]
    assert wrong == []


def test_without_the_policy_the_same_sets_get_what_they_ask_for(
    platform: Platform, plain: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nothing above would show anything."""
    asking = [one for one in tag_sets(range(300)) if one.asks_for_a_pod and one.door == "launchMultipleRuns"][:20]
    monkeypatch.setattr(TagPolicy, "changes_of", lambda *_: {})
    monkeypatch.setattr(TagPolicy, "launched_as", lambda _self, _instance, run: run)
    wrong = beyond(platform, plain, asking)
    assert sum("another job" in one or "no job" in one for one in wrong) >= len(asking) - 2, wrong


@pytest.fixture(scope="module")
def stock_pods(stock: Platform) -> StockPods:
    (run,) = stock.instance.get_runs(RunsFilter(run_ids=[stock.parent()]))
    launcher = stock.instance.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    return StockPods(run, launcher)


@pytest.mark.full
def test_stock_dagster_gives_the_same_sets_all_that_they_ask_for(stock_pods: StockPods) -> None:
    counts: Counter[str] = Counter()
    for one in tag_sets(range(SETS)):
        kinds = stock_pods.kinds(one)
        counts.update(kinds | limits_off(one.as_dagster_reads))
        counts["any pod beyond what is declared"] += bool(kinds - {FAILS})
    print("\n".join(f"| {kind} | {count} |" for kind, count in sorted(counts.items())))  # noqa: T201  (for the docs)
    wanted = {*PODS, *STEPS, NO_TIME, "priority beyond 100", "max_retries beyond 10"}
    assert all(counts[kind] >= 10 for kind in wanted), counts


@pytest.mark.full
def test_the_stock_platform_makes_the_pods_that_are_counted(stock: Platform, stock_pods: StockPods) -> None:
    """The count above asks the stock launcher alone; here the same sets go through webserver, queue and daemon."""
    sets = [one for one in tag_sets(range(STOCK_SHARE)) if one.job == "plain"]
    plain = stock.plain("plain")
    runs = stock.launch(sets)
    jobs = stock.jobs()
    result = {
        one.number: kinds_in(jobs[runs[one.number]], plain) if runs[one.number] in jobs else {FAILS} for one in sets
    }
    assert result == {one.number: stock_pods.kinds_of_run(one) for one in sets}
    kept = {one.run_id: one.tags for one in stock.instance.get_runs(RunsFilter(run_ids=list(runs.values())))}
    assert all(limits_off(kept[runs[one.number]]) == limits_off(one.as_dagster_reads) for one in sets)


def test_every_mutation_that_takes_tags_is_a_door() -> None:
    fields = create_schema().graphql_schema.mutation_type.fields  # type: ignore[union-attr]
    assert {name for name, field in fields.items() if any(_takes_tags(one.type) for one in field.args.values())} == {
        *DOORS, "reexecutePartitionBackfill",  # which takes them and reads none: it has no argument of its own for them
    }  # fmt: skip


def _takes_tags(kind: Any) -> bool:
    named = get_named_type(kind)
    if not isinstance(named, GraphQLInputObjectType):
        return False
    return any("tags" in name.lower() or _takes_tags(one.type) for name, one in named.fields.items())
