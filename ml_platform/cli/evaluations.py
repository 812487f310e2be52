"""Prints what the last evaluation of a pipeline says."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.artifacts import Artifact, ArtifactStore, default_store
from ml_platform.artifacts.reports import page_path, read_report
from ml_platform.errors import ArtifactError
from ml_platform.evaluation.report_schemas import Evaluation, GateResult
from ml_platform.runtime.provenance import provenance_of
from ml_platform.tasks import label_of


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
    """Returns what an evaluation says, with its digest, its page, and the data, parameters and code that made it."""
    evaluation = Evaluation.of(read_report(store, artifact))
    return {
        **evaluation.to_json(),
        "digest": artifact.digest,
        "report": str(page_path(store, artifact)),
        "gates_passed": evaluation.passed,
        "made_of": provenance_of(store, artifact),
    }


def print_evaluation(facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the best model's figures with their gates, the other models, and where the page is."""
    console = console or Console()
    evaluation = Evaluation.model_validate({name: facts[name] for name in Evaluation.model_fields})
    chosen = f"{evaluation.best}, chosen by {label_of(evaluation.selected_by)} on the validation rows"
    console.print(f"[bold]{evaluation.pipeline}[/]: {chosen}, judged on the test rows", soft_wrap=True, highlight=False)
    console.print(_figures(evaluation))
    for gate in evaluation.gates:
        if not gate.passed:
            reason = f"{gate.name}: {gate.metric} is {gate.value:.4f}, expected {gate.bound}"
            why = f"; {gate.why}" if gate.why else ""
            console.print(f"  [red]not approved[/]: {escape(reason + why)}", soft_wrap=True, highlight=False)
    for name, model in evaluation.models.items():
        if name != evaluation.best:
            shown = evaluation.metric_names[:2]
            scores = ", ".join(f"{label_of(metric)} {model.metrics[metric]:.4f}" for metric in shown)
            console.print(f"  {name}, for comparison: {scores}", highlight=False)
    console.print(f"  made of: {_sources(facts['made_of'])}", soft_wrap=True, highlight=False)
    console.print(f"  report: {facts['report']}", soft_wrap=True, highlight=False)


def _sources(made_of: Mapping[str, Any]) -> str:
    data = Counter(label.partition("[")[0] for label in made_of["data"])
    tables = ", ".join(name if count == 1 else f"{name} ({count} partitions)" for name, count in sorted(data.items()))
    return f"{tables}; {len(made_of['code'])} versions of code (--json lists data, parameters, code)"


def _verdict(gate: GateResult) -> str:
    return "[green]passed[/]" if gate.passed else "[red]FAILED[/]"


def _figures(evaluation: Evaluation) -> Table:
    table = Table()
    for name, justify in (("metric", "left"), ("value", "right"), ("gate", "left"), ("verdict", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for metric in evaluation.metric_names:
        gates = [gate for gate in evaluation.gates if gate.metric == metric]
        bounds = "\n".join(f"{gate.bound} ({gate.name})" for gate in gates)
        table.add_row(metric, f"{evaluation.metrics[metric]:.4f}", bounds, "\n".join(map(_verdict, gates)))
    for name, count in (("rows_train", evaluation.rows_train), ("rows_test", evaluation.rows_test)):
        table.add_row(name, f"{count:,}", "", "")
    return table
