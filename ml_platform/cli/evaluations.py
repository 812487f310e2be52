"""What did the last evaluation say?"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.artifacts import Artifact, ArtifactStore, default_store
from ml_platform.artifacts.reports import page_path, read_report
from ml_platform.errors import ArtifactError
from ml_platform.runtime.provenance import made_of
from ml_platform.tasks import TASKS, label_of

# What evaluations did not say when all pipelines had this one task.
_OF_OLD = {"task": "binary", "metrics": list(TASKS["binary"].metrics), "selected_by": "log_loss"}


def last_evaluation(pipeline: str, store: ArtifactStore | None = None) -> dict[str, Any]:
    """Reads the current evaluation, with the path of its page and whether its gates passed.

    Raises:
        ArtifactError: if the pipeline was never evaluated here.
    """
    opened = store or default_store()
    artifact = opened.current(f"{pipeline}/evaluation")
    if artifact is None:
        raise ArtifactError(
            f"{pipeline}: no evaluation in {opened.base}; make one with `ml-platform run {pipeline}` (or is the "
            "pipeline's name another one?)"
        )
    return evaluation_facts(opened, artifact)


def evaluation_facts(store: ArtifactStore, artifact: Artifact) -> dict[str, Any]:
    """Gives what an evaluation says, with its version, its page, and the data, parameters and code that made it."""
    facts = read_report(store, artifact).facts
    return {
        **_OF_OLD,
        **facts,
        "version": artifact.digest,
        "report": str(page_path(store, artifact)),
        "gates_passed": all(gate["passed"] for gate in facts["gates"]),
        "made_of": made_of(store, artifact),
    }


def print_evaluation(facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the best model's figures with their gates, the other models, and where the page is."""
    console = console or Console()
    chosen = (
        f"{facts['best']}, chosen by {label_of(facts['selected_by'])} on the validation rows, judged on the test rows"
    )
    console.print(f"[bold]{facts['pipeline']}[/]: {chosen}", soft_wrap=True, highlight=False)
    console.print(_figures(facts))
    for gate in facts["gates"]:
        if not gate["passed"]:
            reason = f"{gate['name']}: {gate['metric']} is {gate['value']:.4f}, expected {gate['bound']}"
            why = f"; {gate['why']}" if gate["why"] else ""
            console.print(f"  [red]not approved[/]: {escape(reason + why)}", soft_wrap=True, highlight=False)
    for name, model in facts["models"].items():
        if name != facts["best"]:
            scores = ", ".join(f"{label_of(metric)} {model[metric]:.4f}" for metric in facts["metrics"][:2])
            console.print(f"  {name}, for comparison: {scores}", highlight=False)
    data, code = Counter(label.partition("[")[0] for label in facts["made_of"]["data"]), facts["made_of"]["code"]
    tables = ", ".join(name if count == 1 else f"{name} ({count} partitions)" for name, count in sorted(data.items()))
    told = f"{tables}; {len(code)} versions of code (--json lists data, parameters, code)"
    console.print(f"  made of: {told}", soft_wrap=True, highlight=False)
    console.print(f"  report: {facts['report']}", soft_wrap=True, highlight=False)


def _verdict(gate: Mapping[str, Any]) -> str:
    return "[green]passed[/]" if gate["passed"] else "[red]FAILED[/]"


def _figures(facts: Mapping[str, Any]) -> Table:
    table = Table()
    for name, justify in (("metric", "left"), ("value", "right"), ("gate", "left"), ("verdict", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for metric in facts["metrics"]:
        gates = [gate for gate in facts["gates"] if gate["metric"] == metric]
        bounds = "\n".join(f"{gate['bound']} ({gate['name']})" for gate in gates)
        table.add_row(metric, f"{facts[metric]:.4f}", bounds, "\n".join(map(_verdict, gates)))
    for count in ("rows_train", "rows_test"):
        table.add_row(count, f"{facts[count]:,}", "", "")
    return table
