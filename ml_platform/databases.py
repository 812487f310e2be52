"""Retries database calls during outages, and gives forked processes connections of their own."""

import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as db
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

OUTAGE_SECONDS = 60.0  # so long a database that does not answer is asked again

# A server that vanishes without a word is noticed within half a minute by us, and one of us by the server.
POSTGRES: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
_AWAY = ("08", "40", "57P01", "57P02", "57P03", "53300")  # connections, conflicts, shutdowns, too many connections
_REFUSED = ("authentication failed", "does not exist", "no password supplied", "no pg_hba.conf entry")

Answer = TypeVar("Answer")


def through_outages(ask: Callable[[], Answer]) -> Answer:
    """Does something that may be done again, again while the database is away, up to a minute."""
    until, pause = time.monotonic() + OUTAGE_SECONDS, 0.1
    while True:
        try:
            return ask()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > until:
                raise
            logging.getLogger("ml_platform").warning("The database is away, and is asked again: %s", error)
        time.sleep(pause)
        pause = min(2.0, pause * 2)


def is_outage(error: BaseException | None) -> bool:
    """Whether a database did not answer, as opposed to refusing what it was asked; Dagster says it in its own words."""
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _says_that_it_is_away(error.orig)
    # While a connection is given back SQLAlchemy passes on what the driver raised.
    is_drivers = type(error).__module__.startswith("psycopg2")
    return error is not None and (_says_that_it_is_away(error) if is_drivers else is_outage(error.__cause__))


def _says_that_it_is_away(error: Any) -> bool:
    """Reads what a driver raised."""
    code, said = getattr(error, "pgcode", None), str(error)
    if code is not None:
        return str(code).startswith(_AWAY)
    if type(error).__module__.startswith("sqlite3"):
        return "locked" in said or "busy" in said
    return type(error).__name__ == "OperationalError" and not any(one in said for one in _REFUSED)


def own_after_fork(engine: db.Engine) -> db.Engine:
    """Has forked processes connect by themselves: two on one connection would hear each other's answers."""
    kept = weakref.ref(engine)

    def forget() -> None:
        if (mine := kept()) is not None:
            mine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
    return engine
