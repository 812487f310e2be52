"""The battery as a pytest parametrisation."""

import pytest

from ml_platform.contract.battery.pytest_plugin import Case, parametrize_with_promises
from ml_platform.contract.battery.report import PROMISES
from ml_platform.transformers import Calendar
from ml_platform_tests.contract.battery.zoo.sound import UsualDelay

pytest_plugins = ["pytester"]

MODULE = """
from ml_platform.contract.battery.pytest_plugin import Case, parametrize_with_promises
from ml_platform_tests.contract.battery.zoo.broken_rows import AveragesTheGroupOnline
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS

@parametrize_with_promises(Case(AveragesTheGroupOnline(), FLIGHTS, name="usual"), strict=STRICT)
def test_mine(promise):
    promise()
"""


@parametrize_with_promises(Calendar("at"), Case(UsualDelay(), name="usual"), strict=True)
def test_sound_ones_pass(promise) -> None:  # type: ignore[no-untyped-def]
    promise()


@pytest.mark.parametrize(("strict", "failed"), [(False, 2), (True, 3)])
def test_each_promise_is_a_test_and_a_broken_one_fails_with_its_counterexample(
    pytester: pytest.Pytester, strict: bool, failed: int
) -> None:
    pytester.makepyfile(MODULE.replace("STRICT", str(strict)))
    done = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:randomly")
    done.assert_outcomes(passed=len(PROMISES) - failed, failed=failed)
    done.stdout.fnmatch_lines(["*test_mine?usual-row_wise?*", "*one row alone is answered differently*"])
