"""Puts every transformer of scikit-learn through the battery, and writes docs/scikit-learn.md."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.utils import all_estimators

from ml_platform import check_transformer
from ml_platform.contract.battery.report import PROMISES, Report, Unusable
from ml_platform_tests.dagster_internals import _construct_instances

ROWS = 80
MARKS = {"kept": "✓", "broken": "✗", "not declared": "?", "not applicable": "-"}
PAGE = Path(__file__).parent / "scikit-learn.md"
_RNG = np.random.default_rng(0)
CLASSES = _RNG.integers(0, 2, ROWS)
NUMBERS = pd.DataFrame(_RNG.normal(size=(ROWS, 4)) + CLASSES[:, None], columns=["a", "b", "c", "d"])
EXAMPLES = {
    "numbers": NUMBERS,
    "positive numbers": NUMBERS.abs(),
    "categories": pd.DataFrame({"e": _RNG.choice(["x", "y", "z"], ROWS), "f": _RNG.choice(["u", "v"], ROWS)}),
}


def transformers() -> Iterator[tuple[str, Any]]:
    """Gives an instance of each, seeded and dense where it can be."""
    for name, kind in all_estimators("transformer"):
        built = next(iter(_construct_instances(kind)))
        wanted = {"random_state": 0, "sparse_output": False, "handle_unknown": "ignore", "encode": "onehot-dense"}
        known = {key: value for key, value in wanted.items() if key in built.get_params()}
        if name in ("OrdinalEncoder", "TargetEncoder"):
            known.pop("handle_unknown", None)
        yield name, built.set_params(**known)


def check(transformer: Any) -> tuple[Report | None, str]:
    """Tries the first kind of examples that it takes; gives the report, and which kind, or why none."""
    why: list[str] = []
    for kind, examples in EXAMPLES.items():
        try:
            return check_transformer(transformer, examples, CLASSES), kind
        except Unusable as error:
            why.append(str(error))
    return None, why[0]


def main(names: list[str]) -> None:
    """Checks all, or those named, and prints what is broken; writes the page if all were checked."""
    found = []
    for name, transformer in transformers():
        if names and name not in names:
            continue
        with warnings.catch_warnings(action="ignore"):
            report, kind = check(transformer)
        found.append((name, transformer, report, kind))
        print(name, "not applicable" if report is None else report.broken or "sound", flush=True)
        if names and report:
            print(report)
    if not names:
        PAGE.write_text(page(found))
        print(f"wrote {PAGE.relative_to(Path.cwd())}")


def page(found: list[tuple[str, Any, Report | None, str]]) -> str:
    """Writes the table, the proofs, and what does not apply."""
    tried = [(name, told, report, kind) for name, told, report, kind in found if report]
    sound = [name for name, _, report, _ in tried if report and not report.broken]
    lines = [
        "# scikit-learn's transformers under the battery",
        "",
        "Written by `python docs/check_scikit_learn.py`; do not edit it by hand.",
        "",
        f"scikit-learn {sklearn.__version__}: {len(found)} transformers; {len(tried)} take a frame of numbers",
        f"or categories, and {len(sound)} of these break nothing. Each is built as scikit-learn's own tests build it,",
        f"with `random_state=0`, dense output and unknown categories ignored where it can, and tried on {ROWS} rows.",
        "✓ kept, ✗ broken, ? not declared, - not applicable. A plain transformer declares no schemas, hence the ?",
        "under 2. Three surprises are explained in [transformers.md](transformers.md).",
        "",
        f"| transformer | tried on | {' | '.join(str(number) for number in range(1, len(PROMISES) + 1))} |",
        "|---|---|" + "---|" * len(PROMISES),
    ]
    for name, _, report, kind in tried:
        assert report
        marks = " | ".join(MARKS[verdict.outcome] for verdict in report.verdicts)
        lines.append(f"| {name} | {kind} | {marks} |")
    lines += ["", "The promises: " + ", ".join(f"{n} {promise}" for n, promise in enumerate(PROMISES, 1)) + "."]
    lines += ["", "## Broken, with the proof", ""]
    for name, _, report, _ in tried:
        for promise in report.broken if report else []:
            assert report
            lines += [f"**{name}**, {promise}", "", "```text", *_proof(str(report[promise])), "```", ""]
    lines += ["## Not applicable", "", "| transformer | why |", "|---|---|"]
    lines += [f"| {name} | {_cell(kind)} |" for name, _, report, kind in found if report is None]
    return "\n".join([*lines, ""])


def _proof(text: str) -> list[str]:
    return [line.rstrip()[:160] for line in text.splitlines()[1:]]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:220]


if __name__ == "__main__":
    main(sys.argv[1:])
