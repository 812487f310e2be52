"""Every hostile file that readers are tried on."""

from collections.abc import Iterator
from pathlib import Path

from ml_platform_tests.artifacts import hostile, hostile_formats, hostile_payloads
from ml_platform_tests.artifacts.hostile import Case, Maker


def all_cases(base: Path) -> Iterator[Case]:
    """Makes every case; equal ones each time."""
    maker = Maker(base)
    for make in (hostile.damaged, hostile.links, hostile.manifests, hostile.versions, hostile.names, hostile.tables, hostile_payloads.pickles, hostile_formats.objects,
                 hostile_formats.bombs_of_objects, hostile_formats.networks, hostile_formats.frames, hostile_formats.reports):  # fmt: skip
        make(maker)
    yield from maker.cases
