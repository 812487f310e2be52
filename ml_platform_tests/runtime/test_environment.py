import pytest

from ml_platform.errors import PlatformError
from ml_platform.runtime import nodes_of
from ml_platform.runtime.environment import environment_of, limited_threads, thread_count
from ml_platform_tests.platform import Platform


def test_the_usual_variable_sets_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert thread_count() >= 1


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    with pytest.raises(PlatformError, match=f"OMP_NUM_THREADS is '{text}'; expected a whole number from 1"):
        thread_count()


def test_libraries_are_held_to_the_threads_that_the_address_names(
    made: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threadpoolctl import threadpool_limits

    from ml_platform_tests.dagster_internals import _openmp_effective_n_threads

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    node = nodes_of(made.pipeline)["flight_delays/boosted"]
    assert environment_of(node) == {"threads": 1}
    with threadpool_limits(2):
        assert _openmp_effective_n_threads() == 2
        with limited_threads(node):
            assert _openmp_effective_n_threads() == 1
        assert _openmp_effective_n_threads() == 2


@pytest.mark.full
def test_what_says_that_threads_have_no_say_gives_equal_bytes_on_one_and_on_two(
    made: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nodes = [
        node
        for node in nodes_of(made.pipeline).values()
        if node.kind in ("frame", "fitted") and not node.depends_on_threads
    ]
    assert {node.part for node in nodes} == {
        "departures",
        "traffic",
        "plausible_weather",
        "route",
        "aircraft",
        "calendar",
        "weather_before",
        "shares",
    }
    assert {environment_of(node) == {} for node in nodes} == {True}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    other = Platform(tmp_path_factory.mktemp("one"))
    assert other.run(
        "lake/flights", "lake/weather", "lake/planes", "lake/airports", *(node.asset for node in nodes)
    ).success
    mine = made.digests()
    assert {label: digest for label, digest in other.digests().items() if mine[label] != digest} == {}
