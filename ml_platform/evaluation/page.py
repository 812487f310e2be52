"""Renders an evaluation as one HTML page that needs no other file."""

import base64
from collections.abc import Mapping
from pathlib import Path

from ml_platform.evaluation.report_schemas import Evaluation
from ml_platform.extras import missing
from ml_platform.tasks import label_of

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def render_page(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    """Renders the report: verdict, gates, models, pictures, all inside the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    images = {name: base64.b64encode(content).decode() for name, content in pictures.items()}
    template = environment.get_template(_TEMPLATE.name)
    return template.render(evaluation=evaluation, images=images, label=label_of, missing=missing, figure=_figure)


def _figure(value: float) -> str:
    """Writes four places of shares and losses, fewer to what is counted in tens."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
