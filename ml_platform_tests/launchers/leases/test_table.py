"""What may be done once is done once, whoever asks the launch table.

`test_mutants` breaks these fences one by one, and these tests must notice.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import sqlalchemy as db

from ml_platform.launchers.leases.migrations import upgrade
from ml_platform.launchers.leases.schema import DIED, ENDED, OUT_OF_MEMORY, Holder, Launch, Work
from ml_platform.launchers.leases.table import Launches

STATUS = dg.DagsterRunStatus
WORK = Work("run", "run", "job")


def test_a_piece_of_work_has_one_open_launch(launches: Launches, launch: Launch) -> None:
    assert launches.intend(launch.work, "gpu") == launch
    assert launches.release(launch, ENDED)
    second = launches.intend(launch.work, "gpu")
    assert (second.attempt, second.launcher, second.id != launch.id) == (2, "gpu", True)


def test_a_lease_is_taken_once(launches: Launches, launch: Launch) -> None:
    first = Holder()
    assert launches.acquire(launch.lease_id, first)
    assert not launches.acquire(launch.lease_id, Holder())
    assert launches.acquire(launch.lease_id, first), "its answer was lost: the same process asks again"
    assert launches.get(launch.id).secret == first.secret


def test_what_was_put_off_is_not_leased_by_what_was_started_before(launches: Launches, launch: Launch) -> None:
    later = launches.put_off(launch, "an answer was lost", time.time())
    assert not launches.acquire(launch.lease_id, Holder())
    assert launches.acquire(later.lease_id, Holder())


def test_what_is_leased_is_not_put_off(launches: Launches, launch: Launch) -> None:
    assert launches.acquire(launch.lease_id, Holder())
    assert launches.put_off(launch, "an answer was lost", time.time()).fencing_token == 1


def test_what_is_to_end_or_closed_is_not_leased(launches: Launches, launch: Launch) -> None:
    launches.end(launch)
    assert not launches.acquire(launch.lease_id, Holder())
    assert launches.release(launch, ENDED)
    closed = launches.intend(launch.work, "cpu")
    assert launches.release(closed, ENDED)
    assert not launches.acquire(closed.lease_id, Holder())


def test_one_specification_is_created_for_a_fencing_token(launches: Launches, launch: Launch) -> None:
    assert launches.specify(launch, "one", "name", None)
    assert launches.specify(launch, "one", "name", None)
    assert not launches.specify(launch, "another", "name", None)
    later = launches.put_off(launch, "other settings", time.time())
    assert not launches.specify(launch, "one", "name", None)
    assert launches.specify(later, "another", "name", None)


def test_what_was_created_for_a_former_fencing_token_does_not_count(launches: Launches, launch: Launch) -> None:
    later = launches.put_off(launch, "an answer was lost", time.time())
    assert not launches.created(launch, "uid")
    assert launches.get(launch.id).created is None
    assert launches.created(later, "uid")


def test_only_the_holder_reports_publishes_and_releases_by_its_token(launches: Launches, launch: Launch) -> None:
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    assert launches.renew(launch.id, "other", 1.0, 1) is None
    with launches.publishing(launch.id, "other") as is_held:
        assert not is_held
    assert not launches.release(launch, ENDED, secret="other")
    assert not launches.release(launch, ENDED, unleased=True)
    with launches.publishing(launch.id, holder.secret) as is_held:
        assert is_held
    assert launches.release(launch, ENDED, secret=holder.secret)
    assert launches.renew(launch.id, holder.secret, 1.0, 1) is None
    with launches.publishing(launch.id, holder.secret) as is_held:
        assert not is_held


def test_something_is_begun_once(launches: Launches, launch: Launch) -> None:
    assert launches.begin(launch)
    assert not launches.begin(launch)


def test_the_most_memory_stays(launches: Launches, launch: Launch) -> None:
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    launches.renew(launch.id, holder.secret, 1.0, 100)
    launches.renew(launch.id, holder.secret, 2.0, 50)
    found = launches.get(launch.id)
    assert (found.peak_bytes, found.cpu_seconds) == (100, 2.0)


def test_an_outcome_once_found_is_not_changed_by_another_look(launches: Launches, launch: Launch) -> None:
    launches.close_with_outcome(launch, OUT_OF_MEMORY, "first")
    launches.close_with_outcome(launch, DIED, "second")
    assert launches.get(launch.id).outcome == OUT_OF_MEMORY


def test_what_a_try_cost_stands_also_where_its_outcome_was_known_first(launches: Launches, launch: Launch) -> None:
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    launches.close_with_outcome(launch, OUT_OF_MEMORY, "its events say so")
    cost = {"cpu_seconds": 3.0, "peak_bytes": 7}
    assert not launches.release(launch, ENDED, secret="another's", measured={"cpu_seconds": 9.0})
    assert not launches.release(launch, ENDED, secret=holder.secret, measured=cost)
    found = launches.get(launch.id)
    assert (found.outcome, found.cpu_seconds, found.peak_bytes) == (OUT_OF_MEMORY, 3.0, 7)


def test_several_databases_get_their_tables_at_a_time(tmp_path: Path) -> None:
    """Alembic keeps in globals which one it works on."""

    def make(number: int) -> bool:
        with db.create_engine(f"sqlite:///{tmp_path}/{number}.db").begin() as connection:
            return upgrade(connection)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(24))) == [True] * 24
