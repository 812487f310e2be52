"""What does a pipeline score as it is declared now? Here, without Dagster, and without production's notice."""

from typing import Any

from rich.console import Console

from ml_platform.artifacts import default_store
from ml_platform.cli.evaluations import evaluation_facts, last_evaluation, print_evaluation
from ml_platform.errors import ArtifactError
from ml_platform.runtime.inprocess import Pipeline


def try_pipeline(name: str, as_of: str = "latest", rows: int | None = None, model: str | None = None) -> dict[str, Any]:
    """Fits and evaluates a pipeline in this process; no head of the store moves."""
    pipeline = Pipeline.load(name, as_of=as_of, rows=rows, model=model).fit()
    report = pipeline.evaluate()
    assert report.ref is not None
    return evaluation_facts(default_store(), report.ref)


def print_trial(facts: dict[str, Any]) -> None:
    """Prints the figures, and how far they are from those of the current evaluation."""
    console = Console()
    print_evaluation(facts, console)
    try:
        current = last_evaluation(facts["pipeline"])
    except ArtifactError:
        console.print("  production has no evaluation to compare with; `ml-platform run` makes one", style="dim")
        return
    same = " (on another split)" if current["split"] != facts["split"] else ""
    shared = [metric for metric in facts["metrics"] if metric in current]
    changes = ", ".join(f"{metric} {facts[metric] - current[metric]:+.4f}" for metric in shared)
    console.print(
        f"  against the current evaluation{same}: {changes}; production is as it was", highlight=False, soft_wrap=True
    )
