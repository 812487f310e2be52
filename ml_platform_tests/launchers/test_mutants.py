"""A fence that is broken in any one place is noticed."""

from pathlib import Path

import pytest

from ml_platform_tests.kubernetes.warm import forkserver
from ml_platform_tests.launchers.mutants import MUTANTS, Mutant, try_mutant

TESTS_FAILED = 1


def test_there_are_many_and_each_breaks_something() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        compile(mutant.source(), mutant.name, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_fence_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    process = forkserver().Process(target=try_mutant, args=(mutant, str(tmp_path / "log")))
    process.start()
    process.join(120)
    assert process.exitcode == TESTS_FAILED, (tmp_path / "log").read_text()[-3000:]
