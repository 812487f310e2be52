"""Each verb in a role is needed: with the roles everything works, and without any one of them something does not."""

from collections.abc import Callable, Iterator

import pytest
from kubernetes.client import ApiException

from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import RetryLater
from ml_platform_tests.deploy import cluster_calls
from ml_platform_tests.deploy.cluster_calls import ACCOUNTS, Played, played_in
from ml_platform_tests.deploy.manifests import rendered
from ml_platform_tests.kubernetes.access import Access, access_in
from ml_platform_tests.postgres import Postgres

pytestmark = pytest.mark.full

NEEDED: dict[tuple[str, str], Callable[[Played], None]] = {
    ("daemon", "create jobs"): cluster_calls.a_run_is_started,
    ("daemon", "get jobs"): cluster_calls.a_job_that_is_there_already_is_adopted,
    ("daemon", "list jobs"): cluster_calls.a_run_that_got_no_pod_says_so,
    ("daemon", "list pods"): cluster_calls.a_run_that_died_says_how_its_pod_ended,
    ("daemon", "get pods/log"): cluster_calls.a_run_that_did_not_come_to_its_start_says_what_its_pod_printed,
    ("daemon", "list events"): cluster_calls.a_run_says_what_the_cluster_warned_of,
    ("reconciler", "create jobs"): cluster_calls.what_nobody_started_is_started,
    ("reconciler", "get jobs"): cluster_calls.why_a_process_died_is_seen,
    ("reconciler", "list pods"): cluster_calls.why_a_process_died_is_seen,
    ("reconciler", "list events"): cluster_calls.a_run_that_a_quota_holds_up_says_why,
    ("reconciler", "delete jobs"): cluster_calls.a_run_terminated_in_the_ui_leaves_no_job,
    ("reconciler", "delete pods"): cluster_calls.a_pod_that_lost_its_job_is_ended,
    ("reconciler", "list jobs"): cluster_calls.a_job_that_no_launch_needs_is_deleted,
}
CHECKS = [*dict.fromkeys(NEEDED.values()), cluster_calls.a_step_goes_to_another_launcher]


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
