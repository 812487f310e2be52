"""How is an evaluation shown to people, in one file that needs nothing else?"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_platform.extras import missing
from ml_platform.tasks import label_of

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def render_page(facts: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
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
    passed = all(gate["passed"] for gate in facts["gates"])
    return template.render(facts=facts, images=images, passed=passed, label=label_of, missing=missing, figure=_figure)


def _figure(value: float) -> str:
    """Gives four places to shares and losses, fewer to what is counted in tens."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
