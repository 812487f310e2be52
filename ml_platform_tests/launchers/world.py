"""A whole platform for fault tests: an instance, two clusters, and what Dagster's daemon and the reconciler do, by hand."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import SubmitRunContext

from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.relay import Relay
from ml_platform_tests.crashes import FOLDER, is_obeyed
from ml_platform_tests.dagster_internals import QueuedRunCoordinatorDaemon, execute_run_monitoring_iteration
from ml_platform_tests.kubernetes import Cluster
from ml_platform_tests.launchers import HELD
from ml_platform_tests.launchers.clusters import two_clusters
from ml_platform_tests.launchers.rig import Rig, event_log, instance_yaml, rig_in
from ml_platform_tests.postgres import Postgres
from ml_platform_tests.servers import PATIENT_SECONDS

TIMEOUTS = {"first_seconds": 0.2, "longest_seconds": 0.8, "grace_seconds": 1.5}
_LOOK_SECONDS = 0.4
_STOCK_SECONDS = 25.0  # what the stock platform has not settled by then it will not: a run takes two or three
_FIRST = threading.Lock()  # the UI's server, in this process, puts itself together on its first call
_QUEUE = {"module": "ml_platform.launchers", "class": "RoutingRunCoordinator"}
_STOCK_QUEUE = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        began: how often its work began, and `ended`: how often it came to its end.
        overlapped: whether two processes did it at the same time.
        left: pods that are still there.
    """

    status: str
    began: int
    ended: int
    overlapped: bool
    left: int

    def __str__(self) -> str:
        if self.status not in ("SUCCESS", "FAILURE", "CANCELED"):
            return f"lost: still {self.status}"
        twice = ", executed twice at a time" if self.overlapped else ", executed twice" if self.ended > 1 else ""
        pods = f", {self.left} pods left" if self.left else ""
        return f"{self.status.lower()}{twice}{pods}"


class World:
    """The platform under test; `is_stock` with Dagster's own launcher and queue in place of ours.

    Attributes:
        server: the database's, where it is the platform's own.
        relay: what starts steps for pods that may not; `told` is what went wrong around their requests.
    """

    server: Postgres | None = None
    relay: Relay

    def __init__(self, rig: Rig, cpu: Cluster, gpu: Cluster, folder: Path, *, is_stock: bool):
        self.rig = rig
        self.cpu = cpu
        self.gpu = gpu
        self.folder = folder
        self.is_stock = is_stock
        self.reports: list[str] = []
        self._looks = 0
        self._runs_of: dict[tuple[str, ...], str] = {}
        self.daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        self.logger = dg.get_dagster_logger("world")

    @property
    def launches(self) -> Launches:
        return Launches.of(self.rig.instance)

    def launch(self, *assets: str) -> str:
        """Has a run queued, as the UI does; from the second of its kind on without what the UI's server does first."""
        if assets not in self._runs_of:
            with _FIRST:
                self._runs_of[assets] = self.rig.launch(*assets)
            return self._runs_of[assets]
        like = self.rig.run(self._runs_of[assets])
        run = like._replace(run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.NOT_STARTED, tags={})
        self.rig.instance.add_run(run)
        context = SubmitRunContext(run, self.rig.process.create_request_context())
        self.rig.instance.run_coordinator.submit_run(context)
        return run.run_id

    def dequeue(self) -> None:
        """Does what the daemon does with the queue, once."""
        list(self.daemon.run_iteration(self.rig.process))

    def monitor(self) -> None:
        """Does what the daemon does to look after runs, once."""
        list(execute_run_monitoring_iteration(self.rig.process, self.logger))

    def reconcile(self) -> None:
        if not self.is_stock:
            Reconciler(self.rig.instance).look_once()

    def once(self) -> None:
        """Does all of it once; the daemon looks after runs less often than into the queue."""
        self.dequeue()
        if not is_obeyed(self.folder):
            self.reconcile()
        self._looks += 1
        if self._looks % 3 == 0:
            self.monitor()

    def settle(self, *run_ids: str, timeout_seconds: float = PATIENT_SECONDS) -> None:
        """Goes on until the runs are over and nothing of them is left, or for so long."""
        until = time.monotonic() + (min(timeout_seconds, _STOCK_SECONDS) if self.is_stock else timeout_seconds)
        while time.monotonic() < until and not all(self._is_settled(run_id) for run_id in run_ids):
            self.once()
            time.sleep(_LOOK_SECONDS)

    def _is_settled(self, run_id: str) -> bool:
        if not self.rig.run(run_id).is_finished or self.left(run_id):
            return False
        return self.is_stock or not any(one.is_open for one in self.launches.of_run(run_id))

    def wait_for_start(self, run_id: str, step: str | None = None, timeout_seconds: float = PATIENT_SECONDS) -> None:
        """Waits until the work of a run, or of a step of it, has begun."""
        until = time.monotonic() + timeout_seconds
        while not any(step in (None, mark[0]) for mark in self.marks(run_id)):
            assert time.monotonic() < until, self.rig.log_text(run_id)
            self.dequeue()
            time.sleep(0.15)

    @contextmanager
    def held(self, asset: str) -> Iterator[None]:
        """Keeps one that is counted at work: it does not end before the test has done what it would do to it."""
        mark = self.folder / HELD.format(asset)
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()

    def marks(self, run_id: str) -> list[tuple[str, str, int, float]]:
        """Lists what steps began and ended: step, what, process, when."""
        path = self.folder / "counted"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(step, what, int(pid), float(at)) for run, step, what, pid, at in lines if run == run_id]

    def left(self, run_id: str) -> int:
        """Counts the pods of a run that have not ended."""
        with self.cpu.lock, self.gpu.lock:
            ran = [*self.cpu.record, *self.gpu.record]
        return sum(one.finished is None and one.labels.get("dagster/run-id") == run_id for one in ran)

    def printed(self, run_id: str) -> list[str]:
        """Returns the end of what each pod of a run printed."""
        return [
            f"{path.parent.name}: {path.read_text(errors='replace')[-1000:]}"
            for cluster in (self.cpu, self.gpu)
            for path in cluster.folder.glob(f"*{run_id}*/log")
        ]

    def outcome(self, run_id: str) -> Outcome:
        marks = self.marks(run_id)
        counts = Counter((step, what) for step, what, _, _ in marks)
        most = {
            what: max((n for (_, kind), n in counts.items() if kind == what), default=0) for what in ("began", "ended")
        }
        status = self.rig.run(run_id).status.value
        return Outcome(status, most["began"], most["ended"], self._overlapped(run_id), self.left(run_id))

    def _overlapped(self, run_id: str) -> bool:
        """Whether a step began in one process while another that had begun it was still there."""
        ends = {one.pod: one for one in (*self.cpu.record, *self.gpu.record)}
        spans: dict[str, list[tuple[float, float]]] = {}
        for step, what, pid, at in self.marks(run_id):
            if what == "began":
                pods = [one for one in ends.values() if one.pid == pid]
                over = [mark[3] for mark in self.marks(run_id) if mark[:3] == (step, "ended", pid)]
                end = min([*over, *(one.finished or time.time() for one in pods), time.time()])
                spans.setdefault(step, []).append((at, end))
        return any(
            second[0] < first[1]
            for found in spans.values()
            for first, second in zip(sorted(found), sorted(found)[1:], strict=False)
        )

    def waits(self, run_id: str) -> list[str]:
        """Lists what a run's log says of waiting."""
        return [str(event.message) for event in self.rig.events(run_id) if "is busy" in str(event.message)]

    def clear(self) -> None:
        """Forgets faults and records of earlier tests; ends what they left."""
        for cluster in (self.cpu, self.gpu):
            cluster.faults.clear(), cluster.quotas.clear(), cluster.pod_quotas.clear(), cluster.calls.clear()
            for key in list(cluster.jobs):
                with suppress(KeyError):
                    cluster.controller.delete_job(key, is_orphaning=False)


@contextmanager
def world_in(
    folder: Path, storage: Mapping[str, Any] | None = None, *, is_stock: bool = False, seconds: float = 0.0,
    is_warm: bool = True, is_relayed: bool = False,
) -> Iterator[World]:  # fmt: skip
    """Opens a platform whose steps take so many seconds.

    Args:
        storage: what `dagster.yaml` says of the database; SQLite where it says nothing.
        is_relayed: whether pods are kept from the clusters, and ask for the steps that they want.
        is_warm: whether pods are forked from a server that has imported what they need.
    """
    variables = {FOLDER: str(folder), "ML_PLATFORM_TEST_SECONDS": str(seconds)}
    with two_clusters(folder / "pods", folder / "home", is_warm=is_warm, **variables) as (cpu, gpu, launchers):
        more: dict[str, Any] = {
            "run_monitoring": {
                "enabled": True,
                "max_resume_run_attempts": 3,
                "poll_interval_seconds": 1,
            },
            "run_coordinator": _STOCK_QUEUE if is_stock else _QUEUE,
            **({"storage": dict(storage)} if storage else {"event_log_storage": event_log(folder / "home")}),
        }
        text = instance_yaml(
            launchers, timeouts=TIMEOUTS, stock=launchers["cpu"] if is_stock else None,
            steps_started_by="reconciler" if is_relayed else "run", **more,
        )  # fmt: skip
        with rig_in(folder / "home", text) as rig:
            world = World(rig, cpu, gpu, folder, is_stock=is_stock)
            if is_relayed:
                world.relay = Relay(rig.instance, world.reports.append)
                world.relay.creator_of("cpu"), world.relay.creator_of("gpu")
                for kubeconfig in (folder / "pods").glob("*.kubeconfig"):
                    kubeconfig.rename(kubeconfig.with_suffix(".here"))  # no pod can set a launcher up
            yield world
