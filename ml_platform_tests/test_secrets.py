"""What is secret stands in no error, no log, no event, no file of the instance and on no command line."""

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ml_platform.cli import main
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, instance_yaml, kubernetes, local, rig_in

PLANTED = "planted-51c2f7"
VARIABLES = {
    "TOKEN_OF_RUNS": PLANTED,
    "PG_PASSWORD": PLANTED,
    "AWS_SECRET_ACCESS_KEY": PLANTED,
    "AWS_ACCESS_KEY_ID": PLANTED,
}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "of no context",
    "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [
        {"name": "c", "cluster": {"server": "https://127.0.0.1:9", "certificate-authority-data": "no base64!"}}
    ],
    "users": [{"name": "u", "user": {"token": PLANTED, "password": PLANTED, "username": "u"}}],
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An instance whose launchers get secrets: a variable, and a kubeconfig that is broken."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "kubeconfig").write_text(yaml.safe_dump(KUBECONFIG))
    mine = local("cpu")
    mine["config"]["env"]["TOKEN_OF_RUNS"] = {"env": "TOKEN_OF_RUNS"}
    cluster = kubernetes(kubeconfig_file=str(folder / "kubeconfig"), job_image="none", job_namespace="ml")
    text = instance_yaml({"cpu": mine, "gpu": cluster}, run_coordinator=IMMEDIATELY)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in VARIABLES.items():
            patched.setenv(name, value)
        with rig_in(folder / "home", text) as rig:
            yield rig


def test_an_instance_keeps_no_secret_of_runs_that_fail(rig: Rig) -> None:
    """A run on a cluster whose kubeconfig is broken, and one that is ended while it works."""
    with pytest.raises(AssertionError, match=r"launcher gpu \(K8sRunLauncher\) cannot be set up") as answered:
        rig.launch("slow_on_gpu")
    assert PLANTED not in str(answered.value)
    (refused,) = (run.run_id for run in rig.instance.get_runs())
    ended = rig.launch("sleepy")
    rig.wait_for_step(ended, "sleepy")
    mine = {process.pid for process in psutil.Process().children(recursive=True)}
    shown = psutil.process_iter(["cmdline"])  # None for those that are over
    commands = [" ".join(process.info["cmdline"] or ()) for process in shown if process.pid in mine]
    assert any(ended in command for command in commands)
    assert [command for command in commands if PLANTED in command] == []
    rig.terminate(ended)
    rig.finish(ended)
    rig.finish(refused)
    assert "launcher gpu (K8sRunLauncher) cannot be set up" in rig.log_text(refused)
    assert PLANTED not in rig.log_text(refused) + rig.log_text(ended)
    home = Path(rig.instance.root_directory)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if PLANTED.encode() in path.read_bytes()] == []


def storage(**config: Any) -> dict[str, Any]:
    custom = {"module": "ml_platform.storages.postgres", "class": "KeptPostgresStorage", "config": config}
    return {"storage": {"custom": custom}}


PARTS = {"hostname": "127.0.0.1", "port": 9, "username": "u", "db_name": "d"}
INSTANCES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "a database that is away": (["launches"], storage(postgres_db={**PARTS, "password": {"env": "PG_PASSWORD"}})),
    "a URL that is none": (["launches"], storage(postgres_url=f"postgresql://u:{PLANTED}@127.0.0.1:port/d")),
    "a URL of another driver": (["launches"], storage(postgres_url=f"no+such://u:{PLANTED}@127.0.0.1:9/d")),
}
STORES = {
    "a store that is away": "s3://bucket/x",
    "a store with a password": f"s3://key:{PLANTED}@bucket/x",
    "a store without a value": f"memory://key:{PLANTED}@bucket/x",
    "a store of no known kind": f"nosuch://key:{PLANTED}@bucket/x",
}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns all that a command prints that fails."""
    monkeypatch.setattr("ml_platform.databases.OUTAGE_SECONDS", 0)  # it is asked again for a minute
    for name, value in {**VARIABLES, "DAGSTER_HOME": str(tmp_path), "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                        "AWS_MAX_ATTEMPTS": "1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["ml-platform", *arguments])
        with pytest.raises(BaseException) as failed:  # noqa: PT011  (whatever it is, it is printed)
            main()
        is_exit = isinstance(failed.value, SystemExit)
        assert not is_exit or failed.value.code
        told = capfd.readouterr()
        trace = "" if is_exit else "".join(traceback.format_exception(failed.value))
        assert len(told.out + told.err + trace) > 10
        return told.out + told.err + trace

    return run


@pytest.mark.full
@pytest.mark.parametrize("case", INSTANCES)
def test_a_command_that_fails_names_no_secret_of_its_instance(
    tmp_path: Path, said: Callable[..., str], case: str
) -> None:
    arguments, more = INSTANCES[case]
    (tmp_path / "dagster.yaml").write_text(instance_yaml({"cpu": local("cpu")}, **more))
    assert PLANTED not in said(*arguments)


@pytest.mark.parametrize("case", STORES)
def test_a_command_that_fails_names_no_secret_of_its_store(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", STORES[case])
    assert PLANTED not in said("evaluation", "flight_delays")
