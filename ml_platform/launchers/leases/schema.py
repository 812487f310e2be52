"""Defines the launch table and the table of requests: their columns, and the rows as dataclasses."""

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as db
from dagster import DagsterRun

from ml_platform.launchers.routes import Route

TABLE = "ml_platform_launches"
_METADATA = db.MetaData()
# Some columns are stored under an earlier name than the attribute has (`key`): a rename would cost every database a
# migration, and would shut out processes of the version before while both are at work.
LAUNCHES = db.Table(
    TABLE,
    _METADATA,
    db.Column("id", db.String(32), primary_key=True),
    db.Column("run_id", db.String(255), nullable=False),
    db.Column("root_run_id", db.String(255), nullable=False),
    db.Column("step", db.Text, nullable=False),
    db.Column("job", db.Text, nullable=False),
    db.Column("assets", db.Text, nullable=False),
    db.Column("attempt", db.Integer, nullable=False),
    db.Column("retry", db.Integer, nullable=False),
    db.Column("generation", db.Integer, nullable=False, key="fencing_token"),
    db.Column("launcher", db.Text, nullable=False),
    db.Column("route", db.Text),
    db.Column("spec", db.String(64)),
    db.Column("namespace", db.Text),
    db.Column("name", db.Text),
    db.Column("uid", db.Text),
    db.Column("within", db.String(32)),
    db.Column("intended", db.Float, nullable=False),
    db.Column("created", db.Float),
    db.Column("claimed", db.Float, key="acquired"),
    db.Column("token", db.String(32), key="secret"),
    db.Column("host", db.Text),
    db.Column("pid", db.Integer),
    db.Column("heard", db.Float, key="renewed"),
    db.Column("ending", db.Float),
    db.Column("released", db.Float),
    db.Column("outcome", db.Text),
    db.Column("reason", db.Text),
    db.Column("tries", db.Integer, nullable=False),
    db.Column("deaths", db.Integer, nullable=False),
    db.Column("waiting_until", db.Float),
    db.Column("gpus", db.Float, nullable=False),
    db.Column("cpu_seconds", db.Float, nullable=False),
    db.Column("peak_bytes", db.BigInteger, nullable=False),
)
C = LAUNCHES.c
IS_OPEN = C.released.is_(None)
# The index is what makes "one open launch of a piece of work" true, whoever inserts: SQLite and PostgreSQL both have
# partial ones.
db.Index(f"{TABLE}_one_open", C.run_id, C.step, unique=True, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)
db.Index(f"{TABLE}_by_root", C.root_run_id, C.step)
REQUESTS = db.Table(
    "ml_platform_requests",
    _METADATA,
    db.Column("id", db.String(32), primary_key=True),
    db.Column("launch_id", db.String(32), nullable=False),
    db.Column("generation", db.Integer, nullable=False, key="fencing_token"),
    db.Column("launcher", db.Text, nullable=False),
    db.Column("kind", db.Text, nullable=False),
    db.Column("given", db.Text, nullable=False),
    db.Column("asked", db.Float, nullable=False),
    db.Column("answer", db.Text),
)

ENDED = "ended"  # its process came to its own end, whatever became of the work
OUT_OF_MEMORY = "out of memory"
EVICTED = "evicted"  # or preempted, or its node went away
DIED = "died"
CANCELED = "canceled"
REFUSED = "refused"  # it could not be started at all


@dataclass(frozen=True)
class Work:
    """A piece of work: a run, or one step of it.

    Attributes:
        root_run_id: the first of the runs that try the same again.
        step: empty for the run itself.
        assets: what it makes, as far as it is known.
    """

    run_id: str
    root_run_id: str
    job: str
    step: str = ""
    assets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"step {self.step} of run {self.run_id}" if self.step else f"run {self.run_id}"


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease: where it is, and a secret that no other process has."""

    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    secret: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Launch:
    """One row of the table; times are seconds as of `time.time`.

    Attributes:
        attempt: from 1, of this work.
        retry: which of Dagster's tries of a step it belongs to, from 0.
        fencing_token: grows each time the launch is put off; what was started with an earlier one gets no lease.
        launcher: where it is.
        route: of a run, where its steps go.
        spec: the digest of what was to be created.
        uid: what the cluster calls it.
        within: the launch in whose process it happens; None if it has a process of its own.
        acquired: when a process took its lease.
        secret: known to the process that has the lease alone; `host` and `pid` say which that is.
        renewed: when its process last reported.
        ending: when it was first asked to end.
        outcome: how it was released; `reason` says it in words.
        tries: how often creating it was put off.
        deaths: how often what was created for it ended before it took the lease.
        gpus: how many it holds while a process has the lease.
        cpu_seconds: user and system time of its processes.
        peak_bytes: the most memory that its processes had at a time.
    """

    id: str
    work: Work
    attempt: int
    fencing_token: int
    launcher: str
    intended: float
    route: Route | None = None
    spec: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    within: str | None = None
    created: float | None = None
    acquired: float | None = None
    secret: str | None = None
    host: str | None = None
    pid: int | None = None
    renewed: float | None = None
    ending: float | None = None
    released: float | None = None
    outcome: str | None = None
    reason: str | None = None
    tries: int = 0
    deaths: int = 0
    retry: int = 0
    waiting_until: float | None = None
    gpus: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def lease_id(self) -> str:
        """Names what was started for this launch: its process shows it to get the lease."""
        return f"{self.id}.{self.fencing_token}"

    @property
    def is_open(self) -> bool:
        """Whether the work is still to be done by it."""
        return self.released is None

    def is_waiting(self, now: float) -> bool:
        """Whether it is not to be tried yet."""
        return self.is_open and self.acquired is None and self.waiting_until is not None and self.waiting_until > now

    @property
    def seconds(self) -> float:
        """Returns how long it has been, or was, at work, in seconds."""
        return 0.0 if self.acquired is None else (self.released or time.time()) - self.acquired

    @property
    def gpu_seconds(self) -> float:
        """Returns how long it held GPUs, times their number, in seconds."""
        return self.gpus * self.seconds


def work_of(run: DagsterRun, step: str = "", assets: Sequence[str] = ()) -> Work:
    """Names a run, or a step of it, as a piece of work."""
    return Work(run.run_id, run.root_run_id or run.run_id, run.job_name, step, tuple(assets))


def digest_of(command: Sequence[str]) -> str:
    """Names what a process is started with."""
    return hashlib.sha256(json.dumps(list(command)).encode()).hexdigest()


def _route(text: str | None) -> Route | None:
    return None if text is None else Route(*json.loads(text))


_PLAIN = tuple(one.name for one in fields(Launch) if one.name not in ("work", "route"))


def launch_from(row: Any) -> Launch:
    """Returns the launch that a row holds."""
    work = Work(row.run_id, row.root_run_id, row.job, row.step, tuple(json.loads(row.assets)))
    values = row._mapping  # by column: a row's attributes have the stored names
    return Launch(work=work, route=_route(row.route), **{name: values[C[name]] for name in _PLAIN})
