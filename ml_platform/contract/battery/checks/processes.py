"""Promises 8 and 9: equal bytes in another process, and a stored transformer that answers equally there."""

import atexit
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ml_platform.artifacts.objects import dump_object, own_types
from ml_platform.contract.application import plain_frame
from ml_platform.contract.battery.counterexamples import answering, require_equal
from ml_platform.contract.battery.report import PromiseViolation, Undeclared
from ml_platform.contract.battery.subject import Subject, fresh, seeded, unfitted_copy
from ml_platform.contract.battery.worker import frame_bytes, receive, send
from ml_platform.errors import ArtifactError, first_few
from ml_platform.extras import needing

with needing("cloudpickle"):
    import cloudpickle

HASH_SEED = "20130101"  # of the other process; this one's is drawn anew each time, or set to something else


class _Workshop:
    """One process that forks another for each request; started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            # Absolute, as the other process changes its folder and "" would mean another one there.
            path = os.pathsep.join(map(os.path.abspath, sys.path))
            environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED, "PYTHONPATH": path}
            command = [sys.executable, "-m", "ml_platform.contract.battery.worker"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)  # noqa: S603  (ours)
            atexit.register(self.stop)
        return self._process

    def stop(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


_WORKSHOP = _Workshop()


def start_worker() -> None:
    """Starts the other process, so that it is there when it is needed."""
    _WORKSHOP.start()


@dataclass
class Elsewhere:
    """What the transformer answers in another process, which is asked once."""

    subject: Subject
    stored: bytes | None = None
    refused: ArtifactError | None = None
    _found: dict[str, Any] = field(default_factory=dict)
    _reader: threading.Thread | None = None

    @cached_property
    def original(self) -> Any:
        """The fitted transformer that is stored."""
        return self.subject.fit()

    def ask(self) -> None:
        """Sends the request; the answer is awaited by `found`."""
        if self.subject.learns:
            try:
                self.stored = dump_object(self.original, own_types(self.subject.transformer))
            except ArtifactError as error:
                self.refused = error
        try:
            request = cloudpickle.dumps(self._request())
        except Exception as error:  # noqa: BLE001  (a parameter that no other process can have)
            self._found = {"error": f"{type(error).__name__}: {error}", "trace": ""}
            return
        # Read by a thread, so that the other process computes while this one goes on with other checks.
        self._reader = threading.Thread(target=self._converse, args=(request,))
        self._reader.start()

    def _request(self) -> dict[str, Any]:
        """Returns what the other process is asked for."""
        return {
            "path": list(map(os.path.abspath, sys.path)),
            "subject": cloudpickle.dumps(self.subject),
            "stored": self.stored,
            "trusted": own_types(self.subject.transformer),
            # A transformer that claims to be independent of threads is computed on one there and on all here.
            "threads": 1 if getattr(self.subject.transformer, "depends_on_threads", True) is False else None,
        }

    def _converse(self, request: bytes) -> None:
        # One conversation at a time: requests and answers have no numbers.
        with _WORKSHOP.lock:
            process = _WORKSHOP.start()
            assert process.stdin is not None
            assert process.stdout is not None
            send(process.stdin, request)
            answer = receive(process.stdout)
        self._found = cloudpickle.loads(answer) if answer else {"error": "the process died", "trace": ""}

    def found(self) -> dict[str, Any]:
        """Returns the answers, waiting for them.

        Raises:
            PromiseViolation: it fails there, and not here.
        """
        if self._reader is None and not self._found:
            self.ask()
        if self._reader is not None:
            self._reader.join()
        if "error" in self._found:
            raise PromiseViolation(
                f"in another process it fails: {self._found['error']}",
                "\n".join(self._found["trace"].splitlines()[-3:-1]),
                "depend on nothing but parameters and the given frames",
            )
        return self._found


def fits_are_equal(subject: Subject) -> None:
    """Fitted twice on the same rows, it answers the same bytes, whatever the global random state."""
    first, second = (subject.answer(subject.fit(seed), subject.pool) for seed in (1, 2))
    broken = PromiseViolation("fitted twice on the same rows, it answers differently", "", _advice(subject))
    require_equal(first, second, ("first it", "then it"), broken)


def fit_transform_is_fit_and_transform(subject: Subject) -> None:
    """`fit_transform`, which people call in a notebook, equals fit and then transform, as the runtimes do it."""
    if not subject.learns or subject.side or not hasattr(subject.transformer, "fit_transform"):
        return
    expected = subject.answer(subject.fit_again(), subject.X)
    built = unfitted_copy(subject.transformer)
    with seeded(1):
        result = built.fit_transform(fresh(subject.X), subject.y)
    if subject.is_plain and not hasattr(result, "shape"):
        raise PromiseViolation(
            f"fit_transform gives a {type(result).__name__}, fit and then transform a frame", "", "do not call it"
        )
    found = plain_frame(built, result, subject.X, subject.name.lower()) if subject.is_plain else result
    broken = PromiseViolation(
        "fit_transform answers differently than fit and then transform, which production does", "",
        "call fit and transform one after the other, or take another transformer",
    )  # fmt: skip
    require_equal(expected, found, ("fit, transform", "fit_transform"), broken, is_close_enough=True)


def chance_is_seeded(subject: Subject) -> None:
    """A transformer that draws by chance is given its seed; some draw only when there are many rows."""
    parameters = subject.transformer.get_params()
    if subject.learns and parameters.get("random_state", 0) is None:
        raise Undeclared("random_state is None: set it, or equal rows may be fitted otherwise another time")


def _advice(subject: Subject) -> str:
    has_seed = "random_state" in subject.transformer.get_params()
    return (
        "set random_state" if has_seed else "take a parameter random_state, and draw from np.random.default_rng of it"
    )


def another_process_gives_equal_bytes(subject: Subject, elsewhere: Elsewhere) -> None:
    """Fitted and asked in another process, with another hash seed, time zone and folder, it gives equal bytes."""
    found = elsewhere.found()
    here = subject.answer(subject.fit(), subject.pool)
    advice = "sort what comes out of a set; keep nothing in globals; read no file, clock or locale"
    broken = PromiseViolation("in another process it answers differently", "", advice)
    require_equal(here, found["anew"], ("here it", "there it"), broken)
    # Equal values may differ in bytes: -0.0, the order of categories, the validity of a missing value.
    if frame_bytes(here) != frame_bytes(found["anew"]):
        raise PromiseViolation("in another process equal values have other bytes", "", advice)
    if elsewhere.stored is not None and elsewhere.stored != found.get("learnt"):
        raise PromiseViolation("in another process it learns other bytes", "", advice)


def what_is_learnt_can_be_stored(subject: Subject, elsewhere: Elsewhere) -> None:
    """Learned state is arrays, numbers, strings, lists and dicts, or of a type on the closed list."""
    if elsewhere.refused is not None:
        raise PromiseViolation(
            str(elsewhere.refused), "", "keep .to_numpy(), .tolist() or .to_dict() of what pandas gives"
        )


def nothing_is_learnt_in_secret(subject: Subject, elsewhere: Elsewhere) -> None:
    """A transformer that does not declare to learn answers the same whether fit was called or not."""
    if subject.learns:
        return
    here = subject.answer(subject.fit(), subject.pool)
    advice = "declare learns = True, so that what it learns is kept"
    with answering("fit fails, though it declares that it learns nothing", "", advice):
        transformer = subject.fit()
        side = {} if subject.is_plain else dict(subject.side)
        transformer.fit(subject.X.copy(), subject.y, **side)
        # These two are what scikit-learn notes of any frame, and nothing learnt.
        own = set(vars(transformer)) - set(vars(subject.transformer)) - {"n_features_in_", "feature_names_in_"}
        found = subject.answer(transformer, subject.pool)
    broken = PromiseViolation("after fit it answers differently, though it declares that it learns nothing", "", advice)
    require_equal(here, found, ("before it", "after it"), broken)
    if own:
        raise PromiseViolation(
            f"fit keeps {first_few(sorted(own))}, though it declares that it learns nothing", "", advice
        )


def what_was_stored_answers_equally(subject: Subject, elsewhere: Elsewhere) -> None:
    """Loaded in another process, it answers as the one that was stored."""
    if elsewhere.stored is None:
        return
    here = subject.answer(elsewhere.original, subject.pool)
    advice = "keep all that transform needs in attributes; keep nothing in globals"
    broken = PromiseViolation("stored and loaded in another process, it answers differently", "", advice)
    require_equal(here, elsewhere.found()["loaded"], ("before it", "after it"), broken)


CHECKS_HERE = (fits_are_equal, fit_transform_is_fit_and_transform, chance_is_seeded)
CHECKS_OF_STORAGE = (what_is_learnt_can_be_stored, nothing_is_learnt_in_secret, what_was_stored_answers_equally)
