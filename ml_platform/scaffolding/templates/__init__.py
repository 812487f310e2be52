"""Renders the Jinja templates of new projects and pipelines."""

from pathlib import Path
from typing import Any


def render(template: str, **words: Any) -> str:
    """Returns a filled template; a variable that it needs and does not get is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701  (Python and YAML, not HTML)
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**words)
