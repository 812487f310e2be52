"""The manifests are valid, break no rule, and make an instance whose jobs break none either."""

import copy
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml

from ml_platform.compat.dagster import LaunchRunContext
from ml_platform.launchers.leases.schema import work_of
from ml_platform.launchers.routes import Route
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.storages.postgres import KeptPostgresRunStorage
from ml_platform_tests.dagster_internals import (
    JobPythonOrigin,
    ModuleCodePointer,
    RepositoryPythonOrigin,
    create_run_for_test,
)
from ml_platform_tests.deploy.manifests import (
    FOLDER,
    INSTANCES,
    RENDERED,
    Manifest,
    containers,
    instance_yaml,
    located,
    named,
    pod_specs,
    rendered,
)
from ml_platform_tests.deploy.policy import HOLD_A_TOKEN, RULES, broken
from ml_platform_tests.kubernetes import Cluster
from ml_platform_tests.launchers.machine import ORIGIN
from ml_platform_tests.postgres import Postgres

pytestmark = pytest.mark.full

CODE = JobPythonOrigin("job", RepositoryPythonOrigin(sys.executable, ModuleCodePointer("location", "defs")))
VERSION = "1.37"  # of Kubernetes, whose schemas are strict: no field that they do not know


@pytest.mark.parametrize("folder", RENDERED)
def test_every_manifest_is_valid(folder: str) -> None:
    for manifest in rendered(folder):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_field_that_does_not_exist_is_noticed() -> None:
    daemon = copy.deepcopy(named(rendered(INSTANCES[0]), "Deployment", "daemon"))
    daemon["spec"]["template"]["spec"]["automountServiceAccountTokens"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemon, VERSION, strict=True)


@pytest.mark.parametrize("folder", RENDERED)
def test_no_manifest_breaks_a_rule(folder: str) -> None:
    found = {f"{one['kind']} {one['metadata']['name']}": broken(one) for one in rendered(folder)}
    assert {name: rules for name, rules in found.items() if rules} == {}


def planted(kind: str, **changes: Any) -> Manifest:
    return {"kind": kind, "metadata": {"name": "planted", "namespace": "ml-cpu"}, **changes}


def pod(container: Mapping[str, Any] = {}, **changes: Any) -> Manifest:
    """A pod that breaks no rule but what is changed."""
    limits = {"cpu": "1", "memory": "1Gi"}
    context = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    security = {**context, **container.get("securityContext", {})}
    good = {"name": "main", "image": "main:1", "resources": {"limits": limits, "requests": limits}}
    whole = {
        "serviceAccountName": "run", "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{**good, **container, "securityContext": security}],
    }  # fmt: skip
    return planted("Deployment", spec={"template": {"spec": {**whole, **changes}}})


def secured(**changes: Any) -> Manifest:
    return pod({"securityContext": changes})


def role(**changes: Any) -> Manifest:
    return planted("Role", rules=[{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"], **changes}])


def config_map(name: str, value: Any) -> Manifest:
    return planted("ConfigMap", data={name: yaml.safe_dump(value)})


BINDING = {"roleRef": {"kind": "Role", "name": "run"}, "subjects": [{"kind": "ServiceAccount", "name": "run"}]}
PLANTED = [
    ("a privileged container", secured(privileged=True)),
    ("privilege escalation", secured(allowPrivilegeEscalation=True)),
    ("root", secured(runAsUser=0)),
    ("root", pod(securityContext={"seccompProfile": {"type": "RuntimeDefault"}})),
    ("root", secured(runAsNonRoot=False)),
    ("a root file system that can be written", secured(readOnlyRootFilesystem=False)),
    ("capabilities", secured(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]})),
    ("capabilities", secured(capabilities={})),
    ("no seccomp profile", secured(seccompProfile={"type": "Unconfined"})),
    ("no seccomp profile", pod(securityContext={"runAsNonRoot": True})),
    ("missing requests or limits", pod({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}})),
    ("missing requests or limits", pod({"resources": {}})),
    ("an image without a tag, or latest", pod({"image": "host:5000/main"})),
    ("an image without a tag, or latest", pod({"image": "main:latest"})),
    ("a port of the node", pod({"ports": [{"containerPort": 80, "hostPort": 80}]})),
    *(("a namespace of the node", pod(**{kind: True})) for kind in ("hostNetwork", "hostPID", "hostIPC")),
    ("a folder of the node", pod(volumes=[{"name": "node", "hostPath": {"path": "/"}}])),
    ("the default service account", pod(serviceAccountName="default")),
    ("a service account's token", pod(automountServiceAccountToken=True)),
    ("a service account's token", pod(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}])),
    ("a service account that mounts its token", planted("ServiceAccount")),
    ("a role for the whole cluster", planted("ClusterRoleBinding", **BINDING)),
    ("a role for the whole cluster", planted("ClusterRole", rules=[])),
    ("a role for the whole cluster", planted("RoleBinding", **{**BINDING, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}})),
    *(("a wildcard in a role", role(**{kind: ["*"]})) for kind in ("verbs", "resources", "apiGroups")),
    ("a role that gives more than it says", role(resources=["secrets"])),
    ("a role that gives more than it says", role(verbs=["impersonate"])),
    ("a binding for more than one service account", planted("RoleBinding", **{**BINDING, "subjects": [{"kind": "Group", "name": "system:serviceaccounts"}]})),
    ("a binding for more than one service account", planted("RoleBinding", **{**BINDING, "subjects": [{"kind": "ServiceAccount", "name": "default"}]})),
    ("a secret in the clear", planted("Secret", stringData={"password": "planted"})),
    ("a secret in the clear", planted("Secret", data={"password": "cGxhbnRlZA=="})),
    ("a secret in the clear", pod({"env": [{"name": "DAGSTER_PG_PASSWORD", "value": "planted"}]})),
    ("a secret in the clear", pod({"args": ["AWS_SECRET_ACCESS_KEY=planted"]})),
    ("a secret in the clear", config_map("dagster.yaml", {"storage": {"password": "planted"}})),
    ("a secret in the clear", config_map("dagster.yaml", {"storage": {"url": "postgresql://dagster:planted@db/dagster"}})),
    ("a secret in the clear", config_map("dagster.yaml", {"env_vars": ["API_TOKEN=planted"]})),
    ("a namespace that is not restricted", planted("Namespace")),
    ("a service that is reachable from outside", planted("Service", spec={"type": "NodePort"})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "manifest"), PLANTED, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(PLANTED)])
def test_a_planted_manifest_breaks_its_rule_and_no_other(rule: str, manifest: Manifest) -> None:
    assert list(broken(manifest)) == [rule]


def test_a_good_manifest_breaks_no_rule_and_every_rule_has_a_planted_one() -> None:
    for good in (pod(), role(), planted("RoleBinding", **BINDING), pod({"image": "main@sha256:" + 64 * "0"})):
        assert broken(good) == {}
    assert {rule for rule, _ in PLANTED} == set(RULES)


@pytest.mark.parametrize("folder", [*INSTANCES, "overlays/two-clusters/gpu-cluster"])
def test_every_namespace_is_fenced(folder: str) -> None:
    manifests = rendered(folder)
    for namespace in (one["metadata"]["name"] for one in manifests if one["kind"] == "Namespace"):
        within = [one for one in manifests if one["metadata"].get("namespace") == namespace]
        assert "ResourceQuota" in {one["kind"] for one in within}
        deny = named(manifests, "NetworkPolicy", "default-deny", namespace)["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        for policy in (one["spec"] for one in within if one["kind"] == "NetworkPolicy"):
            for way, peer in (("ingress", "from"), ("egress", "to")):
                assert all(rule.get(peer) and rule.get("ports") for rule in policy.get(way, ())), "open to all"


@pytest.mark.parametrize("folder", INSTANCES)
def test_only_the_proxy_is_reachable(folder: str) -> None:
    manifests = rendered(folder)
    policies = [one for one in manifests if one["kind"] == "NetworkPolicy" and one["spec"].get("ingress")]
    open_to_others = {
        one["metadata"]["name"]: [port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]]
        for one in policies
        if any("namespaceSelector" in peer or "ipBlock" in peer for rule in one["spec"]["ingress"] for peer in rule["from"])
    }  # fmt: skip
    assert open_to_others == {"proxy-ingress": [8080]}
    webserver = named(manifests, "Deployment", "webserver")["spec"]["template"]["spec"]
    ports = {one["name"]: one.get("ports", []) for one in webserver["containers"]}
    assert ports == {"webserver": [], "proxy": [{"name": "http", "containerPort": 8080}]}
    (command,) = (one["command"] for one in webserver["containers"] if one["name"] == "webserver")
    assert command[1:3] == ["--host", "127.0.0.1"]
    (port,) = named(manifests, "Service", "webserver")["spec"]["ports"]
    assert port["targetPort"] == "http"


@pytest.mark.parametrize("folder", INSTANCES)
def test_every_deployment_has_a_budget_and_every_container_probes(folder: str) -> None:
    manifests = rendered(folder)
    selected = [one["spec"]["selector"] for one in manifests if one["kind"] == "PodDisruptionBudget"]
    for deployment in (one for one in manifests if one["kind"] == "Deployment"):
        assert deployment["spec"]["selector"] in selected
        for container in containers(deployment["spec"]["template"]["spec"]):
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), container["name"]
    for name in ("daemon", "reconciler"):
        spec = named(manifests, "Deployment", name)["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("folder", INSTANCES)
def test_the_token_of_an_account_is_with_its_own_pod_alone(folder: str) -> None:
    pods = [found for one in rendered(folder) for found in pod_specs(one)]
    with_token = {(at, one["serviceAccountName"]) for at, one in pods if one.get("automountServiceAccountToken")}
    assert with_token == HOLD_A_TOKEN


def test_the_overlays_differ_in_where_the_gpus_are_alone() -> None:
    one, two = (instance_yaml(folder) for folder in INSTANCES)
    for config in (one, two):
        for launcher in config["run_launcher"]["config"]["launchers"].values():
            given = launcher["config"]
            given.pop("load_incluster_config", None), given.pop("kubeconfig_file", None)
    assert one == two


@pytest.mark.parametrize("folder", INSTANCES)
def test_runs_have_the_image_of_the_platform(folder: str) -> None:
    launchers = instance_yaml(folder)["run_launcher"]["config"]["launchers"]
    image = named(rendered(folder), "Deployment", "daemon")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert launchers["cpu"]["config"]["job_image"] == image
    assert launchers["gpu"]["config"]["job_image"].rpartition(":")[2] == image.rpartition(":")[2]


# The instance, and the jobs that its launchers make


@pytest.fixture(scope="module", params=INSTANCES)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres
) -> Iterator[tuple[dg.DagsterInstance, Cluster]]:
    """An instance from the rendered `dagster.yaml`, its launchers on the stand-in."""
    home, database = tmp_path_factory.mktemp("home"), request.param.replace("/", "_")
    postgres_server.create_database(database)
    storage = {"hostname": "127.0.0.1", "port": postgres_server.port, "username": "postgres", "db_name": database}
    with Cluster("one", ("ml-cpu", "ml-gpu")) as cluster, pytest.MonkeyPatch.context() as patch:
        cluster.values = {"postgres": {"password": "planted"}, "object-store": {}}
        patch.setenv("DAGSTER_PG_PASSWORD", "planted")
        kubeconfigs = dict.fromkeys(("cpu", "gpu"), str(cluster.write_kubeconfig(home / "kubeconfig")))
        config = located(
            instance_yaml(request.param), {**storage, "params": {}}, kubeconfigs, ("sh", "-c", "true", "--")
        )
        (home / "dagster.yaml").write_text(yaml.safe_dump(config))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance, cluster


def job_of(played: tuple[dg.DagsterInstance, Cluster], launcher: str, tags: Mapping[str, str] = {}) -> Manifest:
    """Has a launcher start a run and gives the job that the cluster was given."""
    instance, cluster = played
    run = create_run_for_test(
        instance, status=dg.DagsterRunStatus.STARTING, remote_job_origin=ORIGIN, job_code_origin=CODE, tags=dict(tags)
    )
    starter = instance.run_launcher.starter
    starter.start(starter.launches.intend(work_of(run), launcher, Route(launcher, {})), LaunchRunContext(run, None))
    (job,) = (one for one in cluster.jobs.values() if one["metadata"]["labels"]["dagster/run-id"] == run.run_id)
    return dict(job)


def as_given(job: Manifest) -> Manifest:
    """A job without what the API server adds to it."""
    metadata = {name: value for name, value in job["metadata"].items() if name != "creationTimestamp"}
    return {**{name: value for name, value in job.items() if name != "status"}, "metadata": metadata}


def test_the_instance_loads_as_it_is_rendered(played: tuple[dg.DagsterInstance, Cluster]) -> None:
    instance, _ = played
    assert isinstance(instance.run_storage, KeptPostgresRunStorage)
    assert isinstance(instance.run_coordinator, RoutingRunCoordinator)
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 3


@pytest.mark.parametrize("launcher", ["cpu", "gpu"])
def test_a_launchers_job_is_valid_and_breaks_no_rule(played: tuple[dg.DagsterInstance, Cluster], launcher: str) -> None:
    job = job_of(played, launcher)
    kubernetes_validate.validate(as_given(job), VERSION, strict=True)
    assert broken(job) == {}
    assert "planted" not in json.dumps(job)
    spec = job["spec"]
    assert (job["metadata"]["namespace"], spec["template"]["spec"]["serviceAccountName"]) == (f"ml-{launcher}", "run")
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 7 * 24 * 3600)
    limits = spec["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == ("1" if launcher == "gpu" else None)


ATTACK = {"pod_spec_config": {"host_network": True, "service_account_name": "daemon"},
          "container_config": {"security_context": {"privileged": True}}}  # fmt: skip


def test_a_tag_changes_nothing_of_a_job(played: tuple[dg.DagsterInstance, Cluster]) -> None:
    plain, attacked = (job_of(played, "cpu", tags) for tags in ({}, {"dagster-k8s/config": json.dumps(ATTACK)}))
    assert broken(attacked) == {}
    pods = [one["spec"]["template"]["spec"] for one in (plain, attacked)]
    for spec in pods:
        spec["containers"] = [{**one, "args": [], "command": [], "env": []} for one in spec["containers"]]
    assert pods[0] == pods[1]


def secrets_in(found: Any) -> Iterator[str]:
    """Lists the secrets that anything refers to, in manifests and in `dagster.yaml`."""
    if isinstance(found, dict):
        reference = found.get("secretKeyRef") or found.get("secret_key_ref") or found.get("secret") or {}
        yield from (reference[key] for key in ("name", "secretName", "secret_name") if key in reference)
        yield from found.get("env_secrets", ())
        for one in found.values():
            yield from secrets_in(one)
    elif isinstance(found, list):
        for one in found:
            yield from secrets_in(one)


@pytest.mark.parametrize("folder", INSTANCES)
def test_the_guide_says_how_every_secret_and_folder_comes_about(folder: str) -> None:
    guide = (FOLDER / "README.md").read_text()
    needed = {*secrets_in(rendered(folder)), *secrets_in(instance_yaml(folder))}
    assert needed >= {"postgres", "proxy-users", "object-store"}
    made = set(re.findall(r"create secret generic (\S+)", guide))
    accounts = {name.replace("$account", account) for name in made for account in ("daemon", "reconciler")}
    assert needed <= accounts
    assert all((FOLDER.parents[1] / path).exists() for path in re.findall(r"deploy/[\w./-]+\w", guide))
