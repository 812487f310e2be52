"""Compares two pipelines as both are declared now."""

from rich.console import Console
from rich.table import Table

from ml_platform.cli.trial import SAMPLED
from ml_platform.evaluation.comparison import Comparison
from ml_platform.runtime.estimator import Pipeline
from ml_platform.tasks import label_of


def compare_pipelines(one: str, other: str, as_of: str = "latest", rows: int | None = None) -> Comparison:
    """Fits and evaluates both in this process, taking what is there, and compares them; no head of the store moves."""
    pipelines = [Pipeline.load(name, as_of=as_of, rows=rows) for name in (one, other)]
    return pipelines[0].fit().compare(pipelines[1].fit())


def print_comparison(found: Comparison, rows: int | None = None) -> None:
    """Prints the metrics side by side, and what they say; `rows` as `compare_pipelines` was told."""
    console, table = Console(), Table()
    table.add_column("metric")
    for name, model in zip(found.pipelines, found.models, strict=True):
        table.add_column(f"{name}\n{model}", justify="right")
    table.add_column("difference", justify="right")
    for metric, (first, second) in found.metrics.items():
        table.add_row(label_of(metric), f"{first:.4f}", f"{second:.4f}", f"{second - first:+.4f}")
    console.print(table)
    alone = zip(found.pipelines, found.rows_alone, strict=True)
    left_out = "".join(f"; {count:,} that only {name} has are left out" for name, count in alone if count)
    console.print(f"on the {found.rows:,} test rows that both have{left_out}", highlight=False, soft_wrap=True)
    console.print(found.verdict, highlight=False, soft_wrap=True)
    if rows is not None:
        console.print(SAMPLED.format(rows=rows), style="yellow", soft_wrap=True, highlight=False)
