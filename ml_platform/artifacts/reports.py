"""Stores reports: facts as JSON, pictures as PNG, perhaps an HTML page and the answers as Parquet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.frames import FILE, read_frames, write_frame
from ml_platform.artifacts.limits import reading
from ml_platform.artifacts.store import ArtifactStore
from ml_platform.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd

KIND = "report"
FACTS = "report.json"
PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """Facts (plain JSON values), pictures (PNG, by name) and, where people look, one HTML page.

    Attributes:
        answers: a frame that the facts were drawn from, such as what a model said of the test rows.
    """

    facts: Mapping[str, Any]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    page: str | None = None
    answers: "pd.DataFrame | None" = None
    ref: Artifact | None = None


def write_report(folder: Path, report: Report) -> dict[str, Any]:
    """Writes a report's files and returns the facts for its manifest."""
    (folder / FACTS).write_text(json.dumps(report.facts, indent=2, sort_keys=True, allow_nan=False))
    for name, picture in report.pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    if report.page is not None:
        (folder / PAGE).write_text(report.page)
    if report.answers is not None:
        write_frame(folder, report.answers)
    return {"pictures": list(report.pictures)}


def read_report(store: ArtifactStore, artifact: Artifact) -> Report:
    """Loads a report's facts; pictures and page stay files."""
    path = store.file(artifact, FACTS)
    with reading(path, artifact.label, "facts as a JSON object"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ArtifactError(f"{artifact.label}: facts are {facts!r:.80}")
    return Report(facts, ref=artifact)


def read_answers(store: ArtifactStore, artifact: Artifact) -> "pd.DataFrame":
    """Loads a report's answers.

    Raises:
        ArtifactError: if it has none.
    """
    if not artifact.has(FILE):
        raise ArtifactError(f"{artifact.label}: this version keeps no answers; evaluate again")
    return read_frames([store.file(artifact, FILE)])


def page_path(store: ArtifactStore, artifact: Artifact) -> Path:
    """Returns the path of the report's HTML page, verified."""
    return store.file(artifact, PAGE)
