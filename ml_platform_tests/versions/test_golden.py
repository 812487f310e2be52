"""What the platform makes of real rows stays what it was, byte for byte, unless a number says otherwise."""

from pathlib import Path

import pytest

from ml_platform.artifacts import frames
from ml_platform.versions.platform_versions import RUNNERS
from ml_platform_tests.versions.golden import Values, changed_without_a_number, made, recorded


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Values:
    return made(tmp_path_factory.mktemp("golden"))


def test_nothing_is_made_otherwise_without_a_new_number(now: Values) -> None:
    assert changed_without_a_number(recorded(), now) == []


def test_the_record_is_of_today(now: Values) -> None:
    assert now == recorded(), "record it anew: python -m ml_platform_tests.versions.golden"


def test_every_kind_and_the_contract_are_among_the_values(now: Values) -> None:
    assert {entry["kind"] for entry in now.values()} == set(RUNNERS)
    assert {kind for entry in now.values() for kind in entry["platform"]} == {*RUNNERS, "contract"}


def test_other_bytes_of_the_runner_need_another_number(
    now: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_FORMAT", {**frames._FORMAT, b"another": b"format"})
    refused = changed_without_a_number(now, made(tmp_path))
    assert any(line.startswith("late: lake/flights[2013-01-01] (source) is made otherwise") for line in refused)
    assert "{'source': 1}" in refused[0]
