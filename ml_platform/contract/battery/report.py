"""Defines the ten promises of a transformer, and the report of what the battery found for each."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ml_platform.errors import PlatformError

Outcome = Literal["kept", "broken", "not declared", "not applicable"]

PROMISES = {
    "parameters": "The constructor only stores; copies and YAML give an equal object; wrong parameters are refused.",
    "schema": "Input and output schemas are declared; what fits is answered with what fits, the rest is refused.",
    "purity": "Nothing but the given values decides the answer, and transform changes neither them nor itself.",
    "rows": "Rows are preserved, filtered or aggregated, as declared.",
    "row_wise": "The answer for one row alone equals its answer inside any batch.",
    "partition_invariance": "Transforming part by part equals transforming at once.",
    "point_in_time": "With rows from the future removed, nothing changes.",
    "determinism": "Same seed, data and code give the same bytes, in another process too.",
    "safe_persistence": "What was learnt is stored and loaded in a fresh process without pickle, and answers equally.",
    "concurrency": "Transforming from several threads equals transforming from one.",
}


class Unusable(PlatformError):
    """Something that cannot be used as a transformer, or examples that it cannot be tried on."""


class PromiseViolation(Exception):
    """A promise that is not kept.

    Attributes:
        advice: what to do about it.
    """

    def __init__(self, what: str, proof: str | Callable[[], str] = "", advice: str = ""):
        self._proof = proof
        self.advice = advice
        super().__init__(what)

    @property
    def proof(self) -> str:
        """The counterexample, as lines to read: written when they are read, as most are shrunk away before."""
        # Writing a frame as text takes longer than most checks, and shrinking raises hundreds that nobody reads.
        return self._proof if isinstance(self._proof, str) else self._proof()


class Undeclared(Exception):
    """Something that must be declared before it can be proved."""


class Inapplicable(Exception):
    """A promise that does not apply to this transformer."""


@dataclass(frozen=True)
class Finding:
    """What one check of a promise found."""

    check: str
    outcome: Outcome
    why: str = ""
    proof: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one promise: the worst of what its checks found."""

    promise: str
    findings: Sequence[Finding]

    @property
    def number(self) -> int:
        """The promise's place in the contract, from 1."""
        return list(PROMISES).index(self.promise) + 1

    @property
    def outcome(self) -> Outcome:
        """Broken if any check says so, then not declared; not applicable only if no check has anything to say."""
        found = [finding.outcome for finding in self.findings]
        ranked: tuple[Outcome, ...] = ("broken", "not declared", "kept")
        return next((outcome for outcome in ranked if outcome in found), "not applicable")

    @property
    def reasons(self) -> list[Finding]:
        """The findings that explain the outcome, each once."""
        found = [finding for finding in self.findings if finding.outcome == self.outcome and finding.why]
        # Two checks of a promise often run into the same fault; a reader wants it once.
        return list({(finding.why, finding.proof): finding for finding in found}.values())

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {"number": self.number, "promise": self.promise, "outcome": self.outcome,
                "findings": [asdict(finding) for finding in self.reasons]}  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{self.number:>3} {self.promise:<22}{self.outcome.upper() if self.outcome == 'broken' else self.outcome}"
        ]
        for finding in self.reasons:
            lines.append(f"      {finding.why}")
            lines += [f"        {line}" for line in finding.proof.splitlines()]
            lines += [f"      to do: {finding.advice}"] if finding.advice else []
        return "\n".join(lines)


# Also an AssertionError, so that test runners report a failure and not an error.
class PromiseBroken(PlatformError, AssertionError):
    """A promise that a transformer breaks, with the counterexample."""


@dataclass(frozen=True)
class Report:
    """The battery's verdicts on one transformer.

    Attributes:
        transformer: its class and parameters, for people.
        tried_on: which rows it was tried on.
    """

    transformer: str
    tried_on: str
    verdicts: Sequence[Verdict]
    seconds: float

    def of(self, outcome: Outcome) -> list[str]:
        """Returns the promises with this outcome."""
        return [verdict.promise for verdict in self.verdicts if verdict.outcome == outcome]

    @property
    def broken(self) -> list[str]:
        """Returns the promises that are broken."""
        return self.of("broken")

    def __getitem__(self, promise: str) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.promise == promise)

    def require(self, promise: str, *, strict: bool = False) -> None:
        """Refuses a broken promise; if strict, one that is not declared, too.

        Raises:
            PromiseBroken: with the counterexample.
        """
        verdict = self[promise]
        __tracebackhide__ = True  # pytest shows what was broken, not where it was told
        if verdict.outcome == "broken" or (strict and verdict.outcome == "not declared"):
            raise PromiseBroken(f"{self.transformer}\n{verdict}")

    def require_all(self, *, strict: bool = False) -> "Report":
        """Refuses the first broken promise; if strict, one that is not declared, too.

        Raises:
            PromiseBroken: with the counterexample.
        """
        for verdict in self.verdicts:
            self.require(verdict.promise, strict=strict)
        return self

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {"transformer": self.transformer, "tried_on": self.tried_on, "seconds": round(self.seconds, 2),
                "broken": self.broken, "promises": [verdict.to_json() for verdict in self.verdicts]}  # fmt: skip

    def __str__(self) -> str:
        ranked: tuple[Outcome, ...] = ("broken", "not declared", "not applicable", "kept")
        counts = [(outcome, len(self.of(outcome))) for outcome in ranked]
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts if count)
        return "\n".join([f"{self.transformer} on {self.tried_on}", *map(str, self.verdicts),
                          f"{summary} ({self.seconds:.1f} s)"])  # fmt: skip
