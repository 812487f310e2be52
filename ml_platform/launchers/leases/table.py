"""Implements the launch table: atomic transitions of launches and leases, in Dagster's database.

A launch is the intention to have one process do a piece of work: a run, or a single step of one. At most one launch of
a piece of work is open at a time. All that changes a launch is one conditional statement, so that of any number of
daemons, reconcilers and processes exactly one succeeds; whoever does not is told what stands there.

    intended -> created (something will take the lease) -> acquired (a process has it and works) -> released

A process takes the lease of a launch by the launch's id and fencing token. Whoever is not sure whether something was
created raises the token: whatever was created before can never get the lease. No clock of two machines is compared.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as db
from dagster import DagsterInstance
from sqlalchemy.pool import NullPool

from ml_platform.compat.dagster import InstanceRef, storage_of_runs, url_of_storage
from ml_platform.databases import OUTAGE_SECONDS, POSTGRES, own_after_fork, through_outages
from ml_platform.errors import LaunchError
from ml_platform.launchers.leases.schema import ENDED, IS_OPEN, LAUNCHES, TABLE, C, Holder, Launch, Work, launch_from
from ml_platform.launchers.routes import Route

Answer = TypeVar("Answer")


class Launches:
    """The launch table of an instance.

    Every method may be repeated: where an answer was lost, the second call finds what the first did.
    """

    def __init__(self, url: str):
        self.url = url
        self._is_sqlite = url.startswith("sqlite")
        arguments = {"timeout": OUTAGE_SECONDS, "isolation_level": None} if self._is_sqlite else POSTGRES
        pool: dict[str, Any] = {"poolclass": NullPool} if self._is_sqlite else {"pool_pre_ping": True, "pool_size": 1}
        self._engine = own_after_fork(db.create_engine(url, connect_args=arguments, hide_parameters=True, **pool))
        if self._is_sqlite:
            # Taken at once: two that read and then write would else end each other's transactions.
            db.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        self._is_there = False
        self._creating = threading.Lock()

    @classmethod
    def of(cls, instance: DagsterInstance | InstanceRef) -> "Launches":
        """Returns the table in the database of an instance's runs.

        Raises:
            LaunchError: a database that has no such table and cannot get one.
        """
        storage = storage_of_runs(instance)
        url = url_of_storage(storage)
        if not isinstance(url, str) or not url.startswith(("sqlite", "postgresql")):
            raise LaunchError(
                f"launches are kept in SQLite or PostgreSQL; this instance's runs are in a {type(storage).__name__}: "
                "set storage in dagster.yaml to one of these"
            )
        return _kept(url)

    # What changes a launch

    def intend(self, work: Work, launcher: str, route: Route | None = None, **more: Any) -> Launch:
        """Opens a launch for a piece of work, or gives the one that is open.

        Args:
            more: `retry`, `within`, `gpus` of a new one.
        """
        key = (C.run_id == work.run_id) & (C.step == work.step)
        values = {
            "id": uuid.uuid4().hex, "run_id": work.run_id, "root_run_id": work.root_run_id, "step": work.step,
            "job": work.job, "assets": json.dumps(work.assets), "fencing_token": 1, "launcher": launcher,
            "route": None if route is None else json.dumps([route.launcher, dict(route.elsewhere)]), "tries": 0,
            "intended": time.time(), "retry": 0, "deaths": 0, "gpus": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0, **more,
        }  # fmt: skip

        def run(connection: db.Connection) -> Launch:
            # Of two callers at a time the partial unique index lets one insert; both read the same row afterwards.
            attempt = (connection.execute(db.select(db.func.max(C.attempt)).where(key)).scalar() or 0) + 1
            connection.execute(_insert_or_nothing(self._is_sqlite, LAUNCHES).values(attempt=attempt, **values))
            return launch_from(connection.execute(db.select(LAUNCHES).where(key, IS_OPEN)).one())

        return self._write(run)

    def specify(self, launch: Launch, spec: str, name: str, namespace: str | None, gpus: float = 0.0) -> bool:
        """Records what is about to be created; False if something else was, or the launch is past it."""
        is_same = C.spec.is_(None) | (C.spec == spec)
        values = {"spec": spec, "name": name, "namespace": namespace, "gpus": gpus}
        return self._update(values, *_unleased(launch), is_same)

    def created(self, launch: Launch, uid: str | None) -> bool:
        """Records that something exists which will take the lease; False if that cannot any more."""
        # The lease may have been taken already: the process can be faster than the answer of its launcher.
        values = {"uid": uid, "created": time.time(), "waiting_until": None}
        return self._update(values, C.id == launch.id, C.fencing_token == launch.fencing_token, IS_OPEN)

    def put_off(self, launch: Launch, reason: str, until: float, *, died: bool = False) -> Launch:
        """Raises the fencing token, so that nothing started so far gets the lease, and sets when to try again.

        Returns the launch as it is then: another process may have been faster.

        Args:
            died: whether what was started ended before it took the lease.
        """
        values = {
            "deaths": launch.deaths + died,
            "fencing_token": launch.fencing_token + 1, "tries": launch.tries + 1, "waiting_until": until,
            "reason": reason,
            "spec": None, "name": None, "uid": None, "created": None,
        }  # fmt: skip
        self._update(values, *_unleased(launch))
        return self.get(launch.id)

    def acquire(self, lease_id: str, holder: "Holder") -> bool:
        """Takes the lease for a process, which alone may do the work then."""
        launch_id, _, fencing_token = lease_id.partition(".")
        now = time.time()
        exact = (C.id == launch_id, C.fencing_token == int(fencing_token), IS_OPEN)
        values = {"acquired": now, "renewed": now, "waiting_until": None, **asdict(holder)}
        # A process whose first answer was lost asks again, and has the lease by its secret.
        return self._update(values, *exact, C.acquired.is_(None), C.ending.is_(None)) or self._has(
            *exact, C.secret == holder.secret
        )

    def renew(self, launch_id: str, secret: str, cpu_seconds: float, peak_bytes: int) -> Launch | None:
        """Records that a process is at work; None if its lease is gone."""
        values = {
            "renewed": time.time(), "cpu_seconds": cpu_seconds,
            "peak_bytes": db.case((C.peak_bytes < peak_bytes, peak_bytes), else_=C.peak_bytes),
        }  # fmt: skip
        return self.get(launch_id) if self._update(values, *_held(launch_id, secret)) else None

    @contextmanager
    def publishing(self, launch_id: str, secret: str) -> Iterator[bool]:
        """Says whether a process has the lease, and keeps anybody from taking it until the block ends."""
        # FOR SHARE (in SQLite the transaction that begins immediately): whoever wants to release the launch waits until
        # what is published here is visible.
        held = db.select(C.id).where(*_held(launch_id, secret)).with_for_update(read=True)
        self._require_table()
        with self._engine.begin() as connection:
            yield connection.execute(held).first() is not None

    def begin(self, launch: Launch) -> bool:
        """Lets one caller alone create something, and once: for launchers whose processes take no lease."""
        return self._update({"created": time.time(), "waiting_until": None}, *_unleased(launch), C.created.is_(None))

    def close_with_outcome(self, launch: Launch, outcome: str, reason: str) -> None:
        """Closes a launch as what it turned out to be, also where its process has closed it as ended."""
        if not self.release(launch, outcome, reason):
            self._update({"outcome": outcome, "reason": reason}, C.id == launch.id, C.outcome == ENDED)

    def end(self, launch: Launch) -> Launch:
        """Asks for its end: nothing gets its lease any more, and its process is to stop."""
        self._update({"ending": time.time()}, C.id == launch.id, IS_OPEN, C.ending.is_(None))
        return self.get(launch.id)

    def release(
        self, launch: Launch, outcome: str, reason: str = "", *, secret: str | None = None, unleased: bool = False,
        measured: Mapping[str, float] | None = None,
    ) -> bool:  # fmt: skip
        """Closes a launch; False if somebody did, or it is not as the caller believes.

        Args:
            secret: only if the process with this secret has it.
            unleased: only if no process has it.
            measured: `cpu_seconds`, `peak_bytes`, as the process found them; noted also where somebody was first.
        """
        if secret is not None:
            conditions = _held(launch.id, secret)
        elif unleased:
            conditions = (C.id == launch.id, IS_OPEN, C.acquired.is_(None))
        else:
            conditions = (C.id == launch.id, IS_OPEN)
        values = {"released": time.time(), "outcome": outcome, "reason": reason, **(measured or {})}
        is_closed = self._update(values, *conditions)
        if measured and not is_closed and secret is not None:
            self._update(dict(measured), C.id == launch.id, C.secret == secret)  # its outcome is known from its events
        return is_closed

    # What stands there

    def get(self, launch_id: str) -> Launch:
        """Returns a launch by its id.

        Raises:
            LaunchError: there is none.
        """
        found = self._select(C.id == launch_id)
        if not found:
            raise LaunchError(
                f"launch {launch_id} is not in the launch table ({self.place}); was it restored from a backup?"
            )
        return found[0]

    def find(self, launch_id: str) -> Launch | None:
        """Returns a launch by its id, None if there is none."""
        return next(iter(self._select(C.id == launch_id)), None)

    def open(self) -> list[Launch]:
        """Lists what is not released, oldest first."""
        return self._select(IS_OPEN)

    def of_run(self, run_id: str) -> list[Launch]:
        """Lists the launches of a run and its steps, oldest first."""
        return self._select(C.run_id == run_id)

    def last(self, run_id: str, step: str = "") -> Launch | None:
        """Returns the newest launch of a piece of work."""
        found = self._select(C.run_id == run_id, C.step == step)
        return found[-1] if found else None

    def tries_of(self, work: Work) -> list[Launch]:
        """Lists all tries of a step, in the first run and in those that try it again.

        Whoever launches a run may name any other as its first; only runs of the same job count.
        """
        return self._select(C.root_run_id == work.root_run_id, C.step == work.step, C.job == work.job)

    def has_been_at(self, launcher: str) -> bool:
        """Whether anything was ever to be started on a launcher."""
        return self._has(C.launcher == launcher)

    def waiting(self, now: float) -> list[float]:
        """Lists the moments that runs wait for."""
        return [one.waiting_until for one in self._select(IS_OPEN, C.waiting_until > now) if one.waiting_until]

    def all(self, limit: int = 10_000) -> list[Launch]:
        """Lists the newest launches, oldest first."""
        return self._read(lambda connection: [
            launch_from(row) for row in connection.execute(db.select(LAUNCHES).order_by(C.intended.desc()).limit(limit))
        ])[::-1]  # fmt: skip

    # The database

    @property
    def place(self) -> str:
        """Says where the table is, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    def migrate(self) -> bool:
        """Creates the table, or brings it to what this version needs; False if it is so already.

        Raises:
            LaunchError: it is from a newer version.
        """
        from ml_platform.launchers.leases.migrations import upgrade

        # The locks keep others from creating the table at the same time; SQLite's transaction does so by itself.
        with self._creating, self._engine.begin() as connection:
            if not self._is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'))")
            return upgrade(connection)

    def _require_table(self) -> None:
        """Creates the table in a database that has none; one of another version is left to people.

        Raises:
            LaunchError: it is not what this version needs.
        """
        from ml_platform.launchers.leases.migrations import state

        if self._is_there:
            return
        with self._engine.connect() as connection:
            found, wanted = state(connection)
        # Another version may be at work on the table: migrating it without being asked would break that one.
        if found is None:
            self.migrate()
        elif found != wanted:
            raise LaunchError(
                f"the launch table in {self.place} is at revision {found}, this version needs {wanted}; "
                "run: ml-platform launches migrate"
            )
        self._is_there = True

    def _select(self, *conditions: Any) -> list[Launch]:
        query = db.select(LAUNCHES).where(*conditions).order_by(C.intended, C.attempt)
        return self._read(lambda connection: [launch_from(row) for row in connection.execute(query)])

    def _has(self, *conditions: Any) -> bool:
        return bool(
            self._read(lambda connection: connection.execute(db.select(C.id).where(*conditions).limit(1)).first())
        )

    def _update(self, values: Mapping[str, Any], *conditions: Any) -> bool:
        statement = db.update(LAUNCHES).where(*conditions).values(**values)
        return self._write(lambda connection: connection.execute(statement).rowcount == 1)

    def read(self, query: Any) -> list[Any]:
        """Asks the database for rows, of any table beside the launches."""
        return self._read(lambda connection: list(connection.execute(query)))

    def write(self, statement: Any) -> None:
        """Changes a table beside the launches, by what may be done twice."""
        self._write(lambda connection: connection.execute(statement).rowcount)

    def insert(self, table: db.Table, values: Mapping[str, Any]) -> None:
        """Adds a row to a table beside the launches, once: the answer to the first try may have been lost."""
        self.write(_insert_or_nothing(self._is_sqlite, table).values(**values))

    def _read(self, run: Callable[[db.Connection], Answer]) -> Answer:
        def read() -> Answer:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return run(connection)

        return self._ask(read)

    def _write(self, run: Callable[[db.Connection], Answer]) -> Answer:
        def write() -> Answer:
            with self._engine.begin() as connection:
                return run(connection)

        return self._ask(write)

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        """Asks again while the database is away; whatever is asked is conditional, so it may be done twice."""

        def with_table() -> Answer:
            self._require_table()
            return ask()

        return through_outages(with_table)


@cache
def _kept(url: str) -> Launches:
    return Launches(url)


def _insert_or_nothing(is_sqlite: bool, table: db.Table) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    return (sqlite if is_sqlite else postgresql).insert(table).on_conflict_do_nothing()


def _unleased(launch: Launch) -> tuple[Any, ...]:
    """Matches a launch only as the caller knows it: not put off since, and with no process at work."""
    return C.id == launch.id, C.fencing_token == launch.fencing_token, C.acquired.is_(None), IS_OPEN


def _held(launch_id: str, secret: str) -> tuple[Any, ...]:
    return C.id == launch_id, IS_OPEN, C.secret == secret
