"""What the platform makes of real rows, recorded: `python -m ml_platform_tests.versions.golden` records it anew.

A value is recorded under its cache key without the platform's own numbers, so two entries of one key differ only if
the platform itself makes something else than before. Then a number has to move (`ml_platform/versions/platform_versions.py`).
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore
from ml_platform.runtime import Node
from ml_platform.runtime.estimator import Pipeline
from ml_platform.versions.closure import hash_of

HERE = Path(__file__).parent / "pipelines"
RECORDED = HERE.with_name("golden.json")

Values = Mapping[str, Mapping[str, Any]]


def made(folder: Path) -> dict[str, dict[str, Any]]:
    """Makes every kind of value: `label` to its cache key without the platform's numbers, these, and its content."""
    return {label: entry for path in sorted(HERE.glob("*.yaml")) for label, entry in _made_by(path, folder / path.stem)}


def _made_by(path: Path, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    session = Pipeline.load(path, store=ArtifactStore(str(folder)), verbose=False).materialize_all()
    nodes = session.nodes
    for asset, parts in session.artifacts.items():
        for artifact in parts.values():
            yield f"{path.stem}: {artifact.label}", _entry(nodes[asset], artifact)


def _entry(node: Node, artifact: Artifact) -> dict[str, Any]:
    assert node.code is not None
    # Threads are no part: nothing here depends on them.
    computation = {name: value for name, value in artifact.computation.items() if name not in ("code", "environment")}
    code = {name: value for name, value in node.code.items() if name != "platform"}
    return {
        "kind": node.kind,
        "platform": dict(node.code["platform"]),
        "computation": hash_of([computation, code])[:20],
        "content": hash_of([artifact.digest, dict(artifact.facts)])[:20],
    }


def changed_without_a_number(before: Values, now: Values) -> list[str]:
    """Lists the values of which equal inputs and equal code became something else under the same numbers."""
    same = ("kind", "platform", "computation")
    return [
        f"{label} ({entry['kind']}) is made otherwise than recorded; raise one of {entry['platform']} in "
        "ml_platform/versions/platform_versions.py, then record anew"
        for label, entry in now.items()
        if label in before
        and all(before[label][name] == entry[name] for name in same)
        and before[label]["content"] != entry["content"]
    ]


def recorded() -> Values:
    values: Values = json.loads(RECORDED.read_text())
    return values


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        now = made(Path(folder))
    refused = changed_without_a_number(recorded() if RECORDED.exists() else {}, now)
    if refused:
        sys.exit("\n".join(refused))
    RECORDED.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
