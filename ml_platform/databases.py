"""What all do alike that talk to a database: keep connections to themselves, and ask again while it is away."""

import os
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as db
from sqlalchemy.exc import DBAPIError, OperationalError

OUTAGE_SECONDS = 60.0  # so long a database that does not answer is asked again

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
        time.sleep(pause)
        pause = min(2.0, pause * 2)


def is_outage(error: BaseException | None) -> bool:
    """Whether a database did not answer, as opposed to refusing what it was asked; Dagster says it in its own words."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError)
    return error is not None and is_outage(error.__cause__)


def own_after_fork(engine: db.Engine) -> db.Engine:
    """Has forked processes connect by themselves: two on one connection would hear each other's answers."""
    kept = weakref.ref(engine)

    def forget() -> None:
        if (mine := kept()) is not None:
            mine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
    return engine
