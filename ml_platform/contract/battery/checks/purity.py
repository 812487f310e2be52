"""Promise 3: nothing but the given values decides the answer, and transform changes neither them nor itself."""

import copy
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.contract.battery.counterexamples import (
    answering,
    changed_inputs,
    difference,
    error_line,
    frame_text,
    require_equal,
    whole_answer,
)
from ml_platform.contract.battery.report import PromiseViolation
from ml_platform.contract.battery.subject import Subject, fresh, seeded, unfitted_copy
from ml_platform.extras import needing

_VALUES = ("7", "true", "metric")
_CLOCKS = (datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC), datetime(2030, 11, 12, 13, 14, 15, tzinfo=UTC))


def inputs_are_left_as_they_are(subject: Subject) -> None:
    """Neither fit nor transform changes a frame that it was given."""
    given = {"X": fresh(subject.X), **{name: frame.copy() for name, frame in subject.side.items()}}
    side = {name: frame for name, frame in given.items() if name != "X"}
    transformer = unfitted_copy(subject.transformer)
    for what in ("fit", "transform"):
        before = {name: fresh(frame) for name, frame in given.items()}
        if what == "transform":
            with answering("it does not answer its examples"), seeded(1):
                subject.fitted().transform(given["X"], **side)
        elif subject.learns:
            labels = copy.deepcopy(subject.y)
            with seeded(1):
                transformer.fit(given["X"], labels, **side)
            if labels is not None and not np.array_equal(labels, subject.y):
                raise PromiseViolation("fit changes y", "", "work on a copy of it")
        changed = list(changed_inputs(before, given))
        if changed:
            raise PromiseViolation(
                f"{what} changes its input", "\n".join(changed), "work on a copy: X = X.assign(...) or X.copy()"
            )


def the_order_of_columns_does_not_matter(subject: Subject) -> None:
    """Columns in another order give an equal answer, or are refused by name."""
    expected, transformer = whole_answer(subject), subject.fitted()
    turned = subject.pool[list(subject.pool.columns)[::-1]]
    try:
        found = subject.answer(transformer, turned)
    except Exception as error:
        # scikit-learn says "Feature names" or "feature names", so the first letter is left out.
        if any(str(name) in str(error) for name in ("eature names", *subject.pool.columns)):
            return  # a refusal by name
        raise PromiseViolation(
            f"columns in another order raise {error_line(error)}", frame_text(turned[:2]), _BY_NAME
        ) from error
    if sorted(map(str, expected.columns)) == sorted(map(str, found.columns)):
        found = found[list(expected.columns)]
    broken = PromiseViolation("columns in another order are answered differently", frame_text(turned[:2]), _BY_NAME)
    require_equal(expected, found, ("columns in order", "turned round it"), broken, is_close_enough=True)


_BY_NAME = 'take columns by name, X["a"], never by position'


def the_index_does_not_matter(subject: Subject) -> None:
    """The same rows under another index, with repeated labels too, get an equal answer."""
    count = len(subject.pool)
    indexes: dict[str, Any] = {
        "counted backwards": range(count - 1, -1, -1),
        "from 1,000": range(1000, 1000 + count),
        "with each label twice": [place // 2 for place in range(count)],
        "of text": [f"r{place * 7 % count}" for place in range(count)],
    }
    expected, transformer = whole_answer(subject), subject.fitted()
    advice = "the index is no column: align by position (.array, .to_numpy()) or join on columns"
    for label, index in indexes.items():
        frame = subject.pool.set_axis(pd.Index(index), axis=0)
        with answering(f"an index {label} raises", frame_text(frame[:2]), advice):
            found = subject.answer(transformer, frame)
        broken = PromiseViolation(f"an index {label} gives another answer", "", advice)
        require_equal(expected, found, ("an index 0, 1, ...", "the other"), broken)


def the_clock_does_not_matter(subject: Subject) -> None:
    """Fitted and asked at another time, it gives an equal answer."""
    with needing("time_machine"):
        import time_machine

    expected = whole_answer(subject)
    advice = "take times from the data, or make the time a parameter"
    for clock in _CLOCKS:
        # Fitted again there, if fitting is repeatable: a clock that is read in fit is kept in what is learnt.
        with time_machine.travel(clock, tick=False), answering("it fails at another time", "", advice):
            found = subject.answer(subject.fit_again(), subject.pool)
        broken = PromiseViolation(f"on {clock:%Y-%m-%d at %H:%M} it answers differently than now", "", advice)
        require_equal(expected, found, ("now it", "then it"), broken, is_close_enough=True)


@contextmanager
def _reads_of_the_environment() -> Iterator[set[str]]:
    """Collects the names of environment variables that are read inside."""
    names: set[str] = set()
    # The class and not the object: an index looks its method up on the type; get and `in` end there too.
    kind: Any = type(os.environ)
    original = kind.__getitem__

    def noted(self: Any, key: str) -> Any:
        names.add(key)
        return original(self, key)

    kind.__getitem__ = noted
    try:
        yield names
    finally:
        kind.__getitem__ = original


def the_environment_does_not_matter(subject: Subject) -> None:
    """No environment variable that it reads changes the answer."""
    with _reads_of_the_environment() as names:
        expected = subject.answer(subject.fit(), subject.pool)
    advice = "make it a parameter"
    for name, value in [(name, value) for name in sorted(names) for value in _VALUES]:
        before = os.environ.get(name)
        os.environ[name] = value
        try:
            with answering(f"with another {name} in the environment it fails", "", advice):
                found = subject.answer(subject.fit_again(), subject.pool)
        finally:
            # Restored one by one: a check that fails must not leave the variable to those after it.
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
        broken = PromiseViolation(f"with another {name} in the environment it answers differently", "", advice)
        require_equal(expected, found, ("as it is it", "changed it"), broken, is_close_enough=True)


def global_random_state_does_not_matter(subject: Subject) -> None:
    """The state of the global random generators does not change what a fitted transformer answers."""
    transformer = subject.fitted()
    first, second = (subject.answer(transformer, subject.pool, seed=seed) for seed in (1, 2))
    advice = "draw from a generator of your own: np.random.default_rng(self.random_state)"
    broken = PromiseViolation("it answers differently after np.random.seed or random.seed", "", advice)
    require_equal(first, second, ("after seed 1 it", "after seed 2 it"), broken, is_close_enough=True)


def the_surroundings_are_left_as_they_are(subject: Subject) -> None:
    """Neither fit nor transform changes the environment, the working folder or the global random generators."""
    before = _surroundings()
    environment, folder = dict(os.environ), os.getcwd()
    generators = random.getstate(), np.random.get_state()
    try:
        subject.ask(subject.fit_again(), subject.pool)
        after = _surroundings()
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
    changed = [name for name in before if before[name] != after[name]]
    if changed:
        advice = "leave what others depend on as it is; draw from a generator of your own"
        raise PromiseViolation(f"it changes {' and '.join(changed)}", "", advice)


def _surroundings() -> dict[str, Any]:
    return {
        "the environment": dict(os.environ),
        "the working folder": os.getcwd(),
        "random's state": random.getstate(),
        "np.random's state": [np.asarray(part).tolist() for part in np.random.get_state()],
    }


def transform_leaves_the_transformer_as_it_is(subject: Subject) -> None:
    """What was learnt, and every parameter, is the same after transform; asked again, it answers the same."""
    transformer = subject.fitted()
    before = _state(transformer)
    first = subject.answer(transformer, subject.pool)
    after = _state(transformer)
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    advice = "learn in fit; transform only reads"
    if changed:
        raise PromiseViolation("transform changes the transformer", f"attributes: {', '.join(changed)}", advice)
    # Other rows in between, so that what a transformer keeps of its last call shows.
    subject.answer(transformer, subject.pool[::-1])
    told = difference(first, subject.answer(transformer, subject.pool), ("the first time it", "later it"))
    if told is not None:
        raise PromiseViolation("asked again, it answers differently", told[1], advice)


def _state(transformer: Any) -> dict[str, str]:
    """Returns a hash of each attribute's value."""
    import joblib

    def content(value: Any) -> str:
        try:
            return str(joblib.hash(value))
        except Exception:  # noqa: BLE001  (a lambda, a lock: it has no content, and is the same while it is the same)
            return f"object {id(value)}"

    return {name: content(value) for name, value in vars(transformer).items()}


CHECKS = (
    inputs_are_left_as_they_are,
    the_order_of_columns_does_not_matter,
    the_index_does_not_matter,
    the_clock_does_not_matter,
    the_environment_does_not_matter,
    global_random_state_does_not_matter,
    the_surroundings_are_left_as_they_are,
    transform_leaves_the_transformer_as_it_is,
)
