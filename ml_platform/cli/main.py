"""Which sub-commands are there, and how do refusals reach people?"""

import json
import sys
from datetime import date
from typing import Any

import click

from ml_platform.errors import PlatformError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Machine-learning pipelines, declared once."""


def _day_or_latest(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return value if value == "latest" else date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: expected 'latest' or a day such as 2013-10-01") from error


@commands.command()
@click.argument("pipeline")
@click.option(
    "--as-of",
    default="latest",
    show_default=True,
    callback=_day_or_latest,
    help="Cut the rows as of this day, such as 2013-10-01.",
)
def run(pipeline: str, as_of: str) -> None:
    """Materialize PIPELINE and its sources, all partitions in one run; exit 0 only if its gates pass."""
    from ml_platform.cli.running import run_pipeline

    sys.exit(run_pipeline(pipeline, as_of))


@commands.command()
@click.argument("pipeline")
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
def evaluation(pipeline: str, as_json: bool) -> None:
    """Print the last evaluation of PIPELINE."""
    from ml_platform.cli.evaluations import last_evaluation, print_evaluation

    facts = last_evaluation(pipeline)
    if as_json:
        click.echo(json.dumps(facts, indent=2, sort_keys=True))
    else:
        print_evaluation(facts)


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command; what the platform refuses is one message and exit status 1."""
    try:
        return commands.main(arguments, prog_name="ml-platform")
    except PlatformError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
