"""A fence that is broken in any one place is noticed."""

from pathlib import Path

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.kubernetes.warm import forkserver
from ml_platform_tests.launchers.mutants import MUTANTS, Mutant, try_mutant
from ml_platform_tests.repository import project_root
from ml_platform_tests.servers import PATIENT_SECONDS

TESTS_FAILED = 1


def is_of_changed(mutant: Mutant) -> bool:
    return str(mutant.path.relative_to(project_root())) in tiers.changed_files()


def test_there_are_many_and_each_breaks_something() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        compile(mutant.source(), mutant.name, "exec")


@pytest.mark.parametrize(
    "mutant", tiers.cases("mutants of fences", MUTANTS, kind=lambda mutant: mutant.tests, is_needed=is_of_changed),
    ids=lambda mutant: mutant.name,
)  # fmt: skip
def test_a_broken_fence_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    process = forkserver().Process(target=try_mutant, args=(mutant, str(tmp_path / "log")))
    process.start()
    process.join(PATIENT_SECONDS)
    assert process.exitcode == TESTS_FAILED, (tmp_path / "log").read_text()[-3000:]
