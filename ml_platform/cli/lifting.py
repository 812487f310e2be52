"""Prints where a class extracted from a notebook was written, and what to do next."""

import click

from ml_platform.notebooks.extraction import Moved


def print_moved(moved: Moved) -> None:
    """Prints where the class is now, what came along, and what to do next."""
    path, name = moved.import_path, moved.lifted.name
    module = path.rpartition(".")[0]
    done = "is there already, unchanged:" if moved.is_unchanged else "is now in"
    click.echo(f"{name} {done} {moved.path}")
    click.echo(f"  came along: {', '.join(moved.lifted.came_along) or 'nothing'}")
    for note in moved.lifted.notes:
        click.echo(f"  note: {note}")
    given = ", ".join(f'"{one}": ...' for one in moved.required)
    with_ = f"\n      with: {{{', '.join(f'{one}: ...' for one in moved.required)}}}" if given else ""
    params = f" --params '{{{given}}}'" if given else ""
    click.echo(
        "\nNext\n"
        f"  in the notebook, in place of the class:\n      from {module} import {name}\n"
        f"  is it safe? give it rows such as it will get (frame.to_parquet('rows.parquet') writes them):\n"
        f"      ml-platform check-transformer {path}{params} --examples rows.parquet\n"
        f"  as a step, in a pipeline's YAML:\n      uses: {path}{with_}\n"
        "  before it is committed: `make check` asks for types and docstrings"
    )
