"""Each verb in a role is needed: with the roles everything works, and without any one of them something does not."""

from collections.abc import Callable, Iterator

import pytest
from kubernetes.client import ApiException

from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import RetryLater
from ml_platform_tests.deploy import playing
from ml_platform_tests.deploy.manifests import rendered
from ml_platform_tests.deploy.playing import ACCOUNTS, Played, played_in
from ml_platform_tests.kubernetes.access import Access, access_in
from ml_platform_tests.postgres import Postgres

pytestmark = pytest.mark.full

NEEDED: dict[tuple[str, str], Callable[[Played], None]] = {
    ("daemon", "create jobs"): playing.a_run_is_started,
    ("daemon", "get jobs"): playing.a_job_that_is_there_already_is_adopted,
    ("daemon", "list jobs"): playing.a_run_that_got_no_pod_says_so,
    ("daemon", "list pods"): playing.a_run_that_died_says_how_its_pod_ended,
    ("daemon", "get pods/log"): playing.a_run_that_did_not_come_to_its_start_says_what_its_pod_printed,
    ("daemon", "list events"): playing.a_run_says_what_the_cluster_warned_of,
    ("reconciler", "create jobs"): playing.what_nobody_started_is_started,
    ("reconciler", "get jobs"): playing.why_a_process_died_is_seen,
    ("reconciler", "list pods"): playing.why_a_process_died_is_seen,
    ("reconciler", "list events"): playing.a_run_that_a_quota_holds_up_says_why,
    ("reconciler", "delete jobs"): playing.a_run_terminated_in_the_ui_leaves_no_job,
    ("reconciler", "delete pods"): playing.a_pod_that_lost_its_job_is_ended,
    ("reconciler", "list jobs"): playing.a_job_that_no_launch_needs_is_deleted,
}
CHECKS = [*dict.fromkeys(NEEDED.values()), playing.a_step_goes_to_another_launcher]


@pytest.fixture(scope="module")
def access() -> Access:
    return access_in(rendered("overlays/one-cluster"))


@pytest.fixture(scope="module")
def one_platform(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[Played]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_PG_PASSWORD", "unused")
        with played_in(tmp_path_factory.mktemp("roles"), postgres_server) as played:
            yield played


@pytest.fixture
def played(one_platform: Played, access: Access) -> Played:
    one_platform.cluster.access = None
    one_platform.clear()
    one_platform.cluster.access = access
    return one_platform


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_with_the_roles_it_works(played: Played, check: Callable[[Played], None]) -> None:
    check(played)
    assert played.refused() == 0


@pytest.mark.parametrize(("account", "verb"), NEEDED, ids=map(": ".join, NEEDED))
def test_without_a_verb_something_fails(played: Played, access: Access, account: str, verb: str) -> None:
    user = ACCOUNTS[account]
    played.cluster.access = {**access, user: frozenset(one for one in access[user] if str(one) != verb)}
    with pytest.raises((AssertionError, ApiException, RetryLater, LaunchError)):
        NEEDED[account, verb](played)
    assert played.refused() > 0


def test_no_role_has_another_verb(access: Access) -> None:
    names = {user: account for account, user in ACCOUNTS.items()}
    assert {(names[user], str(one)) for user, allowed in access.items() for one in allowed} == set(NEEDED)
    assert {one.namespace for allowed in access.values() for one in allowed} == {"ml-cpu", "ml-gpu"}
