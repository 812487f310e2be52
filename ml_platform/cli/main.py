"""Declares the sub-commands of `ml-platform`, and prints refusals as errors."""

import json
import os
import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
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


_pipeline = click.argument("pipeline", metavar="PIPELINE|FILE.yaml")
_as_of = click.option(
    "--as-of",
    default="latest",
    show_default=True,
    callback=_day_or_latest,
    help="Split the rows as of this day, such as 2013-10-01.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
_rows = click.option(
    "--rows", type=click.IntRange(min=1), help="Take about so many rows of each partitioned source, evenly spaced."
)


@commands.group()
def new() -> None:
    """Write a new project, or a new pipeline in one."""


@new.command(name="project")
@click.argument("name")
def new_project_command(name: str) -> None:
    """Write the Dagster project NAME into a folder of that name: definitions, tests, a Makefile."""
    from ml_platform.cli.new import make_project

    make_project(name)


@new.command(name="pipeline")
@click.argument("name")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="A CSV file with a header.")
@click.option("--target", required=True, help="The column to predict.")
@click.option("--time", help="A column of dates or times: what is newest tests. By default rows are split at random.")
def new_pipeline_command(name: str, data: Path, target: str, time: str | None) -> None:
    """Write the pipeline NAME over a table: a source and two baseline models, which run as written."""
    from ml_platform.cli.new import make_pipeline

    make_pipeline(name, data, target, time)


@commands.command()
@_pipeline
@_as_of
@click.option("--fresh", is_flag=True, help="Compute everything again, reusing nothing.")
@click.option("--branch", default="", help="Move the current versions of this branch alone, not production's.")
def run(pipeline: str, as_of: str, fresh: bool, branch: str) -> None:
    """Materialize PIPELINE and its sources, all partitions in one run; exit 0 only if its gates pass."""
    from ml_platform.cli.run import run_pipeline

    if branch:
        os.environ["ML_PLATFORM_BRANCH"] = branch
    sys.exit(run_pipeline(pipeline, as_of, fresh=fresh))


@commands.command(name="plan")
@_pipeline
@_as_of
@_as_json
def plan_command(pipeline: str, as_of: str, as_json: bool) -> None:
    """Say what a run of PIPELINE would reuse and recompute, and why; nothing is computed."""
    from ml_platform.cli.plan import plan_pipeline, print_plan

    planned = plan_pipeline(pipeline, as_of)
    if as_json:
        _print_json([one.to_json() for one in planned])
    else:
        print_plan(planned)


@commands.command(name="try")
@_pipeline
@_as_of
@_rows
@click.option("--model", help="Fit this candidate alone; by default all of them, and the best is judged.")
@_as_json
def try_command(pipeline: str, as_of: str, rows: int | None, model: str | None, as_json: bool) -> None:
    """Score PIPELINE as declared now, in this process; production is left as it is. Exit 0 whatever the gates say."""
    from ml_platform.cli.trial import print_trial, try_pipeline

    facts = try_pipeline(pipeline, as_of, rows, model)
    if as_json:
        _print_json(facts)
    else:
        print_trial(pipeline, facts, rows)


@commands.command()
@click.argument("a")
@click.argument("b")
@_as_of
@_rows
@_as_json
def compare(a: str, b: str, as_of: str, rows: int | None, as_json: bool) -> None:
    """Score pipelines A and B as they are declared now, and put them side by side on the same test rows."""
    from ml_platform.cli.comparison import compare_pipelines, print_comparison

    found = compare_pipelines(a, b, as_of, rows)
    if as_json:
        _print_json(found.to_json())
    else:
        print_comparison(found, rows)


@commands.command()
@_pipeline
@_rows
@_as_json
def parity(pipeline: str, rows: int | None, as_json: bool) -> None:
    """Run PIPELINE in process and in Dagster, both from nothing, and compare all they make; exit 1 if it differs."""
    from rich.console import Console

    from ml_platform.cli.parity import run_parity

    found = run_parity(pipeline, rows, Console(quiet=as_json))
    if as_json:
        _print_json(found.to_json())
    sys.exit(0 if found.is_equal else 1)


@commands.command()
@click.argument("name", required=False)
@_as_json
def steps(name: str | None, as_json: bool) -> None:
    """List the steps and models that a pipeline can use; with NAME, one with its parameters and an example."""
    from ml_platform.cli.steps import describe_step, list_steps, print_step, print_steps

    if as_json:
        _print_json(describe_step(name).to_json() if name else [one.to_json() for one in list_steps()])
    elif name:
        print_step(name)
    else:
        print_steps()


@commands.command(name="columns")
@_pipeline
@click.argument("step", required=False)
@_as_json
def columns_command(pipeline: str, step: str | None, as_json: bool) -> None:
    """List the columns that the sources and steps of PIPELINE give; of one STEP with their types."""
    from ml_platform.cli.columns import columns_of, print_columns

    found = columns_of(pipeline, step)
    if as_json:
        _print_json({name: schema.to_json() for name, schema in found.items()})
    else:
        print_columns(found)


@commands.command(name="routes")
@_as_json
def routes_command(as_json: bool) -> None:
    """Say where every asset would run: launcher, class, namespace, image, resources. Exit 1 if a route is wrong.

    No cluster is asked; what counts are the definitions and the instance's dagster.yaml.
    """
    from ml_platform.cli.routes import print_routes, routes_here

    path, listed, problems = routes_here()
    if as_json:
        _print_json({"instance": str(path), "routes": [one.to_json() for one in listed], "problems": problems})
    else:
        print_routes(path, listed, problems)
    sys.exit(1 if problems else 0)


@commands.group(name="launches", invoke_without_command=True)
@click.option("--run", "run_id", help="Those of this run alone, by its whole id.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many, the newest.")
@_as_json
@click.pass_context
def launches_command(context: click.Context, run_id: str | None, limit: int, as_json: bool) -> None:
    """List what was launched: where, how it ended, its CPU-seconds, GPU-seconds and memory, and the sums by asset."""
    if context.invoked_subcommand is not None:
        return
    from ml_platform.cli.launches import costs_of_assets, launches_here, print_launches, to_json

    found = launches_here(run_id, limit)
    if as_json:
        _print_json({"launches": [to_json(one) for one in found], "assets": costs_of_assets(found)})
    else:
        print_launches(found)


@launches_command.command(name="migrate")
def migrate_command() -> None:
    """Create the launch table in Dagster's database, or bring it to what this version needs."""
    from ml_platform.cli.launches import migrate

    click.echo(migrate())


@launches_command.command(name="reconcile")
@click.option(
    "--every", "every_seconds", type=click.FloatRange(min=0), default=0.0,
    help="Go on for ever, looking again after so many seconds. By default once; exit 1 if something could not be done.",
)  # fmt: skip
@click.option("--alive", type=click.Path(dir_okay=False, path_type=Path), help="Touch this file as long as it goes on.")
def reconcile_command(every_seconds: float, alive: Path | None) -> None:
    """Look after launches: end what is to end until it is gone, start what was lost, remove what nobody needs."""
    from ml_platform.cli.launches import reconcile

    sys.exit(0 if reconcile(every_seconds, alive) else 1)


@commands.command()
@click.option(
    "--keep", default="30d", show_default=True, help="What was made or used in this time stays: 30d, 12h, 8w."
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@_as_json
def gc(keep: str, dry_run: bool, as_json: bool) -> None:
    """Delete values, launches and logs that nothing needs: no current version, of production or a branch, no run."""
    from ml_platform.cli.retention import free, print_freed

    freed = free(keep, is_dry=dry_run, is_shown=not as_json)
    if as_json:
        _print_json(freed.to_json())
    else:
        print_freed(freed)


@commands.command(name="copy-instance")
@click.argument("folder", metavar="FROM", type=click.Path(path_type=Path, exists=True, file_okay=False))
def copy_instance_command(folder: Path) -> None:
    """Copy what the instance FROM (a DAGSTER_HOME with SQLite) knows into this one's empty PostgreSQL database.

    Whole or not at all. Artifacts are files, and are copied by themselves; `platform move-from` does both.
    """
    from ml_platform.cli.instance_copy import copy_here

    for table, number in copy_here(folder).items():
        click.echo(f"{table}: {number:,} rows")


@commands.command()
@_pipeline
@_as_json
def evaluation(pipeline: str, as_json: bool) -> None:
    """Print the last evaluation of PIPELINE."""
    from ml_platform.cli.evaluations import last_evaluation, print_evaluation

    facts = last_evaluation(pipeline)
    if as_json:
        _print_json(facts)
    else:
        print_evaluation(facts)


@commands.command(name="check-transformer")
@click.argument("import_path")
@click.option(
    "--params", default="{}", help='The parameters that it is built with, as JSON, such as \'{"column": "at"}\'.'
)
@click.option(
    "--examples", multiple=True, metavar="[NAME=]FILE.parquet",
    help="Rows such as it will get; with a name, those of another input. By default drawn from its input_schema.",
)  # fmt: skip
@click.option("--target", help="The column of the examples that it learns; it is taken out of them.")
@click.option("--strict", is_flag=True, help="Exit 1 also where something is not declared.")
@_as_json
def check_transformer_command(
    import_path: str, params: str, examples: tuple[str, ...], target: str | None, strict: bool, as_json: bool
) -> None:
    """Try the ten promises of the transformer at IMPORT_PATH, a dotted path as in `uses`.

    Exit 0 if none is broken, 1 if one is, 2 if it cannot be used as a transformer or there is nothing to try it on.
    """
    from ml_platform.cli.battery import check_path
    from ml_platform.contract.battery.report import Unusable

    try:
        with redirect_stdout(sys.stderr):  # what the transformer prints is no part of the report
            report = check_path(import_path, params, examples, target)
    except Unusable as error:
        click.echo(json.dumps({"error": str(error)}) if as_json else f"error: {error}", err=not as_json)
        sys.exit(2)
    if as_json:
        _print_json(report.to_json())
    else:
        click.echo(str(report))
    sys.exit(1 if report.broken or (strict and report.of("not declared")) else 0)


@commands.command(name="lift")
@click.argument("notebook", type=click.Path(path_type=Path))
@click.argument("class_name", metavar="CLASS")
@click.option("--to", metavar="MODULE", help="The new module; by default CLASS's name in the project's `transformers`.")
@click.option("--force", is_flag=True, help="Write over a module that says something else.")
def lift_command(notebook: Path, class_name: str, to: str | None, force: bool) -> None:
    """Move CLASS and what it needs out of NOTEBOOK into a module, so that a pipeline's YAML can name it."""
    from ml_platform.cli.lifting import print_moved
    from ml_platform.notebooks.extraction import lift_class

    print_moved(lift_class(notebook, class_name, to, force=force))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, sort_keys=True))


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command; what the platform refuses is one message and exit status 1."""
    if not sys.stdout.isatty() or "JPY_PARENT_PID" in os.environ:
        os.environ.setdefault("TTY_INTERACTIVE", "0")  # rich: a notebook asks for colours, and cannot show what moves
    # Before a numeric library is loaded, which reads it once: threads that wait by spinning take the cores that the
    # others need, and beside busy neighbours a fit of seconds took minutes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return commands.main(arguments, prog_name="ml-platform")
    except PlatformError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
