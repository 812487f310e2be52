"""One machine with its services: from nothing to a finished run, killed, backed up, restored, moved to."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ml_platform_tests.deploy.machine import CannotBoot, Machine, why_not
from ml_platform_tests.needed import leave_out

pytestmark = pytest.mark.full

CHECKOUT = Path(__file__).parents[2]
PLATFORM = "/usr/local/sbin/platform"
HOME = "/var/lib/ml_platform"
SERVICES = ("code", "webserver", "daemon", "reconciler")
RUNS = "SELECT run_id, status FROM runs"
LAUNCH = f"do dagster job launch --workspace {HOME}/workspace.yaml --job digits"
REUSED = """
import dagster, json, sys
with dagster.DagsterInstance.get() as instance:
    logs = instance.all_logs(sys.argv[1], of_type=dagster.DagsterEventType.ASSET_MATERIALIZATION)
    print(json.dumps({log.step_key: log.asset_materialization.metadata["reused"].value for log in logs}))
"""


class Operator:
    """Types the documented commands."""

    def __init__(self, machine: Machine):
        self.machine = machine

    def platform(self, command: str, timeout: float = 600) -> str:
        return self.machine.do(f"{PLATFORM} {command}", timeout)

    def refused(self, command: str) -> str:
        done = self.machine.run(f"{PLATFORM} {command}")
        assert done.returncode == 1, done.stdout
        return done.stderr

    def runs(self) -> dict[str, str]:
        """Asks the database, which takes no time: a program of ours or Dagster's imports for seconds."""
        told = self.machine.do(f'cd / && runuser -u postgres -- psql -tAF " " -c "{RUNS}" ml_platform')
        return {run: status for run, status in map(str.split, told.splitlines())}

    def reused(self, run_id: str) -> dict[str, bool]:
        (self.machine.root / "opt/ask.py").write_text(REUSED)
        found: dict[str, bool] = json.loads(self.platform(f"do python /opt/ask.py {run_id}"))
        return found

    def launch(self) -> str:
        before = set(self.runs())
        self.platform(LAUNCH)
        (new,) = set(self.runs()) - before
        return new

    def finish(self, run_id: str, timeout_seconds: float = 600) -> str:
        until = time.monotonic() + timeout_seconds
        while (status := self.runs()[run_id]) not in ("SUCCESS", "FAILURE", "CANCELED"):
            assert time.monotonic() < until, f"{run_id} is {status}\n{self.machine.journal()}"
            time.sleep(0.3)
        return status

    def launches(self, run_id: str) -> list[dict[str, object]]:
        found = json.loads(self.platform(f"do ml-platform launches --run {run_id} --json"))["launches"]
        return [one for one in found if not one["step"]]

    def launch_and_hold(self) -> str:
        """Launches a run, and has its process stand still in the middle of its work."""
        run_id = self.launch()
        until = time.monotonic() + 120
        while self.runs()[run_id] != "STARTED":
            assert time.monotonic() < until, self.machine.journal()
            time.sleep(0.05)
        self.machine.do(f"pkill -STOP -u ml_platform -f {run_id}")
        assert self.runs()[run_id] == "STARTED"
        return run_id

    def let_go(self, run_id: str) -> None:
        self.machine.do(f"pkill -CONT -u ml_platform -f {run_id}")

    def process_of(self, unit: str) -> int:
        return int(self.machine.do(f"systemctl show --property MainPID --value {unit}"))


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """A machine without PostgreSQL's cluster, on which `platform install` was called."""
    if reason := why_not():
        leave_out(reason)
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(Machine(CHECKOUT, Path(sys.base_prefix)))
        except CannotBoot as error:  # a kernel that forbids it, such as a container's: nothing to install would help
            pytest.skip(str(error))
        machine.open_to_all(CHECKOUT)
        machine.open_to_all(Path(sys.base_prefix))
        machine.do(f"ln -s {CHECKOUT}/deploy/local/services/platform {PLATFORM}")
        made = Operator(machine)
        made.platform("install")
        yield made


@pytest.fixture(scope="module")
def started(operator: Operator) -> Operator:
    operator.platform("start")
    return operator


def test_the_service_manager_finds_no_fault_with_the_units(operator: Operator) -> None:
    units = "/etc/systemd/system/ml-platform.target /etc/systemd/system/ml-platform-*.service"
    done = operator.machine.run(f"systemd-analyze verify --man=no {units}")
    assert (done.returncode, done.stderr) == (0, "")
    planted = operator.machine.root / "etc/systemd/system/planted.service"
    planted.write_text("[Service]\nExecStart=/nowhere/at/all\nKilMode=process\n")
    assert operator.machine.run("systemd-analyze verify --man=no planted.service").stderr.count("planted.service") >= 2


def test_commands_and_services_read_the_same_settings(operator: Operator) -> None:
    settings = operator.machine.root / "etc/ml_platform/environment"
    settings.write_text("PLANTED=https://here/?a=1&b=$two\n")
    assert operator.platform("do printenv PLANTED HOME") == f"https://here/?a=1&b=$two\n{HOME}\n"
    settings.unlink()


def test_it_is_installed_again_over_itself(operator: Operator) -> None:
    assert "is up to date" in operator.platform("install")


def test_a_run_from_a_clean_machine_comes_to_its_end(started: Operator) -> None:
    assert started.finish(started.launch()) == "SUCCESS"
    assert "definitions loaded" in started.platform("status")


def test_nothing_listens_beyond_this_machine(started: Operator) -> None:
    listening = [
        line.split()[3] for line in started.machine.do("ss --tcp --listening --numeric --no-header").splitlines()
    ]
    of_us = [one for one in listening if not one.endswith((":80", ":443"))]
    assert "127.0.0.1:3000" in of_us
    assert all(one.startswith(("127.0.0.1:", "[::1]:")) for one in of_us), of_us
    for folder in (HOME, "/run/ml_platform", "/var/cache/ml_platform"):
        assert started.machine.do(f"stat --format %U:%a {folder}").strip() == "ml_platform:700"


def test_each_service_killed_during_a_run_is_back_and_the_run_is_done_once(started: Operator) -> None:
    run_id = started.launch_and_hold()
    units = [*(f"ml-platform-{name}.service" for name in SERVICES), "postgresql@15-main.service"]
    for unit in units:
        killed = started.process_of(unit)
        started.machine.do(f"kill -9 {killed}")
        until = time.monotonic() + 60
        while started.process_of(unit) in (0, killed):
            assert time.monotonic() < until, f"{unit} is not back\n{started.machine.journal()}"
            time.sleep(0.2)
    started.let_go(run_id)
    assert started.finish(run_id) == "SUCCESS"
    assert len(started.launches(run_id)) == 1, "its process was none of theirs"
    started.platform("start")
    assert "definitions loaded" in started.platform("status")


def test_a_database_that_is_down_is_told_and_started(started: Operator) -> None:
    started.machine.do("systemctl stop postgresql 'postgresql@*'")
    assert "PostgreSQL does not answer" in started.refused("status")
    started.platform("start")
    assert "definitions loaded" in started.platform("status")


def test_definitions_that_were_mended_are_loaded_by_a_start(started: Operator) -> None:
    planted = CHECKOUT / "ml_platform" / "defs" / "planted"  # on the machine's own layer of this folder
    started.machine.do(f"mkdir {planted} && echo 'type: nowhere.Nothing' > {planted}/defs.yaml")
    started.machine.do("systemctl restart ml-platform-code")
    until = time.monotonic() + 120
    while "the definitions cannot be loaded" not in started.machine.run(f"{PLATFORM} status").stderr or (
        "nowhere" not in started.machine.do("journalctl --unit ml-platform-code --since -2min")
    ):
        assert time.monotonic() < until, started.machine.journal()
        time.sleep(0.5)
    started.machine.do(f"rm -r {planted}")
    started.platform("start")
    assert "definitions loaded" in started.platform("status")
    assert not planted.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("backup", "which file?"),
        (f"backup {HOME}/in.tar", "would be part of the next backup"),
        ("restore", "which file?"),
        ("restore /nowhere.tar", "cannot be read"),
        ("start now", "start takes nothing else, found: now"),
    ],
)
def test_what_cannot_be_meant_is_refused(operator: Operator, command: str, said: str) -> None:
    assert said in operator.refused(command)


def test_stopping_leaves_the_data_and_runs_go_on(started: Operator) -> None:
    run_id = started.launch_and_hold()
    before = set(started.runs())
    assert "stopped; 0 processes" not in started.platform("stop"), "the run's, and no service's"
    assert not started.machine.run("pgrep -u ml_platform -f dagster-webserver").stdout
    assert "ml-platform-code does not run" in started.refused("status")
    started.let_go(run_id)
    assert started.finish(run_id) == "SUCCESS"
    started.platform("start")
    assert set(started.runs()) == before


def test_a_backup_brings_back_what_was_there(started: Operator) -> None:
    root, runs = started.machine.root, set(started.runs())
    artifacts = sorted(path.name for path in (root / f"{HOME[1:]}/artifacts").rglob("*"))
    assert "/root/backup.tar" in started.platform("backup /root/backup.tar")
    assert "is there already" in started.refused("backup /root/backup.tar")
    late = started.launch()
    started.finish(late)
    shutil.rmtree(root / f"{HOME[1:]}/artifacts")
    said = started.platform("restore /root/backup.tar")
    assert set(started.runs()) == runs
    assert sorted(path.name for path in (root / f"{HOME[1:]}/artifacts").rglob("*")) == artifacts
    kept = said.partition("folder ")[2].partition(" ")[0]
    assert (root / kept[1:] / "dagster.yaml").exists()
    assert started.finish(started.launch()) == "SUCCESS", "it goes on from there"


@pytest.mark.parametrize(
    ("bad", "made"),
    [
        ("truncated", "head -c $(($(stat --format %s /root/backup.tar) / 2)) /root/backup.tar"),
        ("truncated between two files", "tar --delete --file - whole < /root/backup.tar"),
        ("of something else", "tar -cf - -C / etc/hostname"),
        ("with a broken database", "cd /root && rm -rf b && mkdir b && tar -xf backup.tar -C b && "
         "dd if=/dev/urandom of=b/database.dump bs=4k count=9 status=none && tar -cf - -C b ."),
    ],
)  # fmt: skip
def test_a_bad_backup_changes_nothing(started: Operator, bad: str, made: str) -> None:
    runs = started.runs()
    started.machine.do(f"({made}) > /root/bad.tar")
    assert "/root/bad.tar is no whole backup of this platform; nothing was changed" in started.refused(
        "restore /root/bad.tar"
    ), bad
    assert started.runs() == runs
    assert "definitions loaded" in started.platform("status")


def test_an_interrupted_restore_keeps_services_down_and_is_finished_by_another(started: Operator) -> None:
    started.machine.do(f"mkdir -p {HOME}.restoring && touch {HOME}.restoring/swapping")
    started.platform("stop")
    assert started.machine.run("timeout 5 systemctl start ml-platform-daemon").returncode != 0
    started.machine.do(f"rm -rf {HOME}.restoring")
    runs = set(started.runs())
    # The database has changed its place when the power goes.
    interrupted = f"cp -a {HOME} {HOME}.restoring && touch {HOME}.restoring/swapping"
    started.machine.do(interrupted)
    assert "it is finished first" in started.platform("restore /root/backup.tar")
    assert set(started.runs()) == runs
    started.platform("start")


def test_a_laptops_instance_moves_in(started: Operator) -> None:
    started.platform("stop")
    started.machine.do(
        f"pkill -KILL -u ml_platform; cd / && runuser -u postgres -- dropdb ml_platform && rm -rf {HOME} /root/laptop"
        f" && mkdir /root/laptop && cp {CHECKOUT}/ml_platform/resources/dagster.yaml /root/laptop"
    )
    started.machine.do(f"cd {CHECKOUT} && DAGSTER_HOME=/root/laptop .venv/bin/ml-platform run digits", timeout=1200)
    started.platform("install")
    started.platform("start")
    assert "the services run" in started.refused("move-from /root/laptop")
    started.platform("stop")
    assert "is no laptop's instance" in started.refused("move-from /etc")
    assert "runs: 1 rows" in started.platform("move-from /root/laptop")
    started.platform("start")
    (old,) = started.runs()
    new = started.launch()
    assert started.finish(new) == "SUCCESS"
    started.machine.do(f"test ! -e {HOME}/moving")
    assert all(started.reused(new).values()), "what the laptop made is there"
    assert not any(started.reused(old).values())
