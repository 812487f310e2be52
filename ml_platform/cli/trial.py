"""Fits and evaluates a pipeline in this process, without Dagster and without changing current versions."""

from pathlib import Path
from typing import Any

from rich.console import Console

from ml_platform.artifacts import default_store
from ml_platform.cli.evaluations import evaluation_facts, last_evaluation, print_evaluation
from ml_platform.errors import ArtifactError
from ml_platform.runtime.estimator import Pipeline

SAMPLED = (
    "  on a sample of about {rows:,} rows of each partitioned source: what counts, looks back or looks up sees the "
    "sample alone, so these figures say that it runs, not how good it is"
)


def try_pipeline(name: str, as_of: str = "latest", rows: int | None = None, model: str | None = None) -> dict[str, Any]:
    """Fits and evaluates a pipeline in this process; no head of the store moves."""
    pipeline = Pipeline.load(name, as_of=as_of, rows=rows, model=model).fit()
    report = pipeline.evaluate()
    assert report.ref is not None
    return {**evaluation_facts(default_store(), report.ref), "extends": pipeline.spec.extends}


def print_trial(name: str, facts: dict[str, Any], rows: int | None = None) -> None:
    """Prints the figures, and how far they are from those of the current evaluation.

    Args:
        name: of the pipeline, as the user gave it.
        rows: about how many rows of each partitioned source it saw; None: all of them.
    """
    console = Console()
    print_evaluation(facts, console)
    if rows is not None:
        console.print(SAMPLED.format(rows=rows), style="yellow", soft_wrap=True, highlight=False)
        return
    parent = facts["extends"]
    if parent is not None:
        # A path is seen from the variant's folder, the command from here.
        parent = str(Path(name).parent / parent) if parent.endswith((".yaml", ".yml")) else parent
        console.print(f"  beside its parent: `ml-platform compare {parent} {name}`", highlight=False, soft_wrap=True)
    try:
        current = last_evaluation(facts["pipeline"])
    except ArtifactError:
        if parent is None:
            console.print("  production has no evaluation to compare with; `ml-platform run` makes one", style="dim")
        return
    same = " (on another split)" if current["split"] != facts["split"] else ""
    shared = [metric for metric in facts["metric_names"] if metric in current["metrics"]]
    changes = ", ".join(f"{metric} {facts['metrics'][metric] - current['metrics'][metric]:+.4f}" for metric in shared)
    console.print(
        f"  against the current evaluation{same}: {changes}; production is as it was", highlight=False, soft_wrap=True
    )
