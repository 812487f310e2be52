"""The battery can fail, and does not cry wolf: the zoo is caught, sound transformers pass, and mutants are noticed."""

import importlib
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from ml_platform import check_transformer
from ml_platform.contract.battery.report import PROMISES, Report
from ml_platform_tests import tiers
from ml_platform_tests.contract.battery.zoo import BROKEN, SOUND
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS
from ml_platform_tests.repository import project_root


def check_broken(name: str, promises: tuple[str, ...] = tuple(PROMISES)) -> Report:
    specimen = BROKEN[name]
    return check_transformer(specimen.build(), FLIGHTS, promises=promises, **specimen.side)


def check_sound(name: str, promises: tuple[str, ...] = tuple(PROMISES)) -> Report:
    sound = SOUND[name]
    return check_transformer(sound.transformer, sound.X, sound.y, promises=promises, **sound.side)


def is_quick(name: str) -> bool:
    """Whether a broken one is found in a moment; the smallest counterexample of some is looked for half a minute."""
    return name != "ProjectsByChance"


@cache
def report_on(name: str) -> Report:
    """What the battery as it is says of a specimen, of a broken one about what it may break; several tests ask."""
    if name not in BROKEN:
        return check_sound(name)
    may_break = {BROKEN[name].breaks, *BROKEN[name].also}
    return check_broken(name, tuple(promise for promise in PROMISES if promise in may_break))


@pytest.mark.parametrize(
    "name", tiers.cases("broken transformers", BROKEN, kind=lambda name: BROKEN[name].breaks, is_telling=is_quick)
)
def test_a_broken_transformer_is_caught_by_the_check_it_was_made_for(name: str) -> None:
    report = report_on(name)
    specimen = BROKEN[name]
    assert specimen.breaks in report.broken, report
    told = report[specimen.breaks].reasons
    assert all(finding.why for finding in told)


@pytest.mark.parametrize(
    "name", tiers.cases("broken transformers and all promises", BROKEN, kind=lambda name: BROKEN[name].breaks)
)
def test_a_broken_transformer_breaks_nothing_but_what_it_may(name: str) -> None:
    specimen = BROKEN[name]
    report = check_broken(name)
    assert specimen.breaks in report.broken, report
    assert set(report.broken) <= {specimen.breaks, *specimen.also}, report


@pytest.mark.parametrize("name", tiers.cases("sound transformers", SOUND))
def test_a_sound_transformer_passes(name: str) -> None:
    report = report_on(name)
    assert report.broken == [], report


def test_the_zoo_has_two_for_each_promise_at_least() -> None:
    made_for = [specimen.breaks for specimen in BROKEN.values()]
    assert {promise: made_for.count(promise) >= 2 for promise in PROMISES} == dict.fromkeys(PROMISES, True)
    assert len(BROKEN) >= 30
    assert len(SOUND) >= 12


@dataclass(frozen=True)
class Mutant:
    """A check made weaker or stricter in one place, and the specimen whose verdict changes."""

    module: str
    old: str
    new: str
    noticed_by: str
    promise: str

    @property
    def home(self) -> str:
        within = {"equality": "", "strategies": ".battery", "counterexamples": ".battery"}
        return f"ml_platform.contract{within.get(self.module, '.battery.checks')}.{self.module}"


MUTANTS = [
    # an assertion dropped
    Mutant("declarations", "if kept is not anything or probes:", "if kept is not anything:", "TakesNoneForADefault", "parameters"),
    Mutant("declarations", "    if more:\n", "    if not kind:\n", "CountsItsCopies", "parameters"),
    Mutant("declarations", "if rows not in ROWS:", "if not rows:", "MisspellsWhatItDoes", "rows"),
    Mutant("schemas", "    if found:\n        raise PromiseViolation(\n            f\"the answer does", "    if not found and declared is None:\n        raise PromiseViolation(\n            f\"the answer does", "SaysIntegerAndGivesNumbers", "schema"),
    Mutant("schemas", "list(answer.columns) != declared.names and not found", "len(answer.columns) < len(declared.names)", "LeavesAColumnBehind", "schema"),
    Mutant("schemas", "    search(answers, fitting(narrow), examples=5)", "    assert answers", "NeedsAColumnItDoesNotDeclare", "schema"),
    Mutant("purity", "        if changed:\n            raise", "        if changed and what == 'fit':\n            raise", "WritesIntoItsInput", "purity"),
    Mutant("counterexamples", "        if told is not None:\n            yield", "        if told is not None and name == 'X':\n            yield", "SortsTheOtherTableInPlace", "purity"),
    Mutant("purity", "    if changed:\n        raise PromiseViolation(\"transform", "    if changed and False:\n        raise PromiseViolation(\"transform", "KeepsItsWorkOnSelf", "purity"),
    Mutant("rows", "    if len(answer) != len(frame):\n        raise PromiseViolation(", "    if len(answer) > len(frame):\n        raise PromiseViolation(", "DropsRowsWithMissingValues", "rows"),
    Mutant("rows", "    for name in _passed(frame, answer):", "    for name in []:", "SortsItsRows", "rows"),
    Mutant("rows", "if not all(row in rest for row in after):", "if len(after) > len(before):", "FiltersAndRepairs", "rows"),
    Mutant("rows", "if answer.duplicated(key).any():", "if answer.empty:", "AggregatesByMoreThanItsKey", "rows"),
    Mutant("processes", "    here = subject.answer(subject.fit(), subject.pool)\n    advice = \"sort", "    return\n    advice = \"sort", "NumbersASet", "determinism"),
    Mutant("processes", "    if elsewhere.refused is not None:", "    if elsewhere.subject is None:", "LearnsASeries", "safe_persistence"),
    Mutant("processes", "    if elsewhere.stored is None:", "    if elsewhere.stored:", "LearnsIntoAGlobal", "safe_persistence"),
    # a comparison loosened
    Mutant("equality", "TOLERANCES[_digits(one.dtype)] * np.max(finite, initial=0.0)", "1e3 * np.max(finite, initial=1.0)", "AveragesTheGroupOnline", "row_wise"),
    Mutant("equality", "    if one.dtype != other.dtype:", "    if one.dtype is None:", "IntegersWhereNothingIsMissing", "row_wise"),
    Mutant("rows", "(times >= times[place] - lookback)", "(times >= times[0])", "LooksBackFurtherThanItSays", "row_wise"),
    Mutant("rows", "seen = pool[times >= start - lookback]", "seen = pool[times >= times[0]]", "LooksBackFurtherThanItSays", "partition_invariance"),
    Mutant("rows", "(\"the whole\", \"the parts together\"), broken, is_close_enough=True)", "(\"the whole\", \"the parts together\"), broken) if key else None", "KeepsTheFirstOfEachDestination", "partition_invariance"),
    Mutant("rows", "groups.isin([group + 1 for group in chosen])", "groups.isin(chosen)", "SharesOfTheTotal", "partition_invariance"),
    Mutant("purity", "(\"columns in order\", \"turned round it\"), broken, is_close_enough=True)", "(\"\", \"\"), broken) if not len(found) else None", "TakesColumnsByPosition", "purity"),
    Mutant("rows", "(times <= times[place])", "(times < times[place] + lookback * 99)", "FillsFromTheFuture", "row_wise"),
    # less is tried
    Mutant("purity", "list(subject.pool.columns)[::-1]", "list(subject.pool.columns)[::1]", "TakesColumnsByPosition", "purity"),
    Mutant("purity", "subject.pool.set_axis(pd.Index(index), axis=0)", "subject.pool.reset_index(drop=True)", "AlignsByIndex", "purity"),
    Mutant("purity", "time_machine.travel(clock, tick=False), answering", "answering", "CountsDaysUntilToday", "purity"),
    Mutant("purity", "subject.fit_again(), subject.pool)\n        broken = PromiseViolation(f\"on", "subject.fitted(), subject.pool)\n        broken = PromiseViolation(f\"on", "AsksTheYearInFit", "purity"),
    Mutant("purity", "for name in sorted(names) for value in _VALUES]", "for name in sorted(names) for value in []]", "ReadsTheEnvironment", "purity"),
    Mutant("strategies", "st.one_of(known, fitting(subject, at_least)) if subject.input_schema else known", "known", "GoesOutOfItsRange", "schema"),
    Mutant("strategies", "st.one_of(values, st.none()) if can_be_missing else values", "known", "GoesOutOfItsRange", "schema"),
    Mutant("point_in_time", "frame[~(frame[as_of] > now)] if as_of in frame else frame", "frame", "TakesTheNewestOfAllTimes", "point_in_time"),
    Mutant("point_in_time", "frame[frame[as_of] >= now - lookback] if name in timed else frame", "frame", "LooksFurtherIntoTheWeatherThanItSays", "partition_invariance"),
    Mutant("strategies", "unique=not repeats", "unique=True", "MarksWhatCameBefore", "partition_invariance"),
    Mutant("concurrency", "        if lines == place:", "        if lines == -1:", "KeepsItsWorkInAGlobal", "concurrency"),
    Mutant("concurrency", "for value in vars(kind).values() if inspect.isfunction(value)", "for value in ()", "TurnsAParameterForAMoment", "concurrency"),
    # a seed fixed
    Mutant("purity", "seed=seed) for seed in (1, 2))", "seed=seed) for seed in (1, 1))", "JittersWithGlobalNumpy", "purity"),
    Mutant("processes", "subject.pool) for seed in (1, 2))", "subject.pool) for seed in (1, 1))", "SamplesWithTheGlobalGenerator", "determinism"),
    # too strict: sound ones are accused
    Mutant("rows", "(\"the batch\", \"the row by itself\"), broken, is_close_enough=True", "(\"the batch\", \"the row by itself\"), broken", "PCA", "row_wise"),
    Mutant("purity", "            return  # a refusal by name", "            raise PromiseViolation(\"\") from error", "StandardScaler", "purity"),
    Mutant("rows", "    if not subject.row_wise:\n        _with_its_history(subject)\n        return\n", "", "RecentDelay", "row_wise"),
    Mutant("processes", "- {\"n_features_in_\", \"feature_names_in_\"}", "", "FunctionTransformer", "safe_persistence"),
]  # fmt: skip


def is_of_changed(mutant: Mutant) -> bool:
    name = importlib.import_module(mutant.home).__file__
    return name is not None and str(Path(name).relative_to(project_root())) in tiers.changed_files()


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Returns the module's functions, wherever they were imported, the code that the mutated text compiles to."""
    module = importlib.import_module(mutant.home)
    text = inspect.getsource(module)
    assert text.count(mutant.old) == 1, f"{mutant.old!r} stands {text.count(mutant.old)} times in {module.__name__}"
    changed = compile(text.replace(mutant.old, mutant.new), str(module.__file__), "exec")
    codes = {code.co_name: code for code in changed.co_consts if isinstance(code, types.CodeType)}
    functions = {name: getattr(value, "__wrapped__", value) for name, value in vars(module).items()
                 if inspect.isfunction(value) and value.__module__ == module.__name__}  # fmt: skip
    before = {name: function.__code__ for name, function in functions.items()}
    for name, function in functions.items():
        function.__code__ = codes[name]
    try:
        yield
    finally:
        for name, function in functions.items():
            function.__code__ = before[name]


@pytest.mark.parametrize(
    "mutant", tiers.cases("mutants of checks", MUTANTS, kind=lambda mutant: mutant.module, is_needed=is_of_changed),
    ids=lambda mutant: f"{mutant.noticed_by}-{mutant.promise}",
)  # fmt: skip
def test_a_mutant_of_a_check_is_noticed(mutant: Mutant) -> None:
    """The checks that a broken specimen breaks are others, or a sound one is accused."""
    check = check_broken if mutant.noticed_by in BROKEN else check_sound
    before = broken_checks(report_on(mutant.noticed_by), mutant.promise)
    with mutated(mutant):
        after = broken_checks(check(mutant.noticed_by, (mutant.promise,)), mutant.promise)
    assert before - after if mutant.noticed_by in BROKEN else after - before, (before, after)


def broken_checks(report: Report, promise: str) -> set[str]:
    return {finding.check for finding in report[promise].findings if finding.outcome == "broken"}


def test_there_are_twenty_mutants_at_least() -> None:
    assert len(MUTANTS) >= 20
    assert {mutant.promise for mutant in MUTANTS} == set(PROMISES)
