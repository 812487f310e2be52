"""Traces a stored value back through manifests to its sources, code, parameters and environment."""

from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore


def provenance_of(store: ArtifactStore, artifact: Artifact) -> dict[str, Any]:
    """Follows a value's manifests back to the sources.

    Returns:
        `data`: source and partition to content digest; `code` and `parameters`: asset to what made it;
        `environment`: what of the machine decided bytes; `split`: which rows trained, validated and tested.
    """
    data: dict[str, str] = {}
    code: dict[str, str] = {}
    environment: dict[str, Any] = {}
    pending, seen = [artifact], set[str]()
    while pending:
        one = pending.pop()
        # A value that was adopted leads to the manifests it would be made of now, which may share ancestors.
        if one.id in seen or not one.computation:
            continue
        seen.add(one.id)
        if one.computation["node"].startswith("source:"):
            data[one.label] = one.digest
        code[one.asset] = one.computation["code"]
        environment |= one.computation.get("environment", {})
        pending += [store.version(*_parted(label, id_)) for label, id_ in one.inputs.items()]
    described = {asset: store.noted(f"code/{version}") or {} for asset, version in sorted(code.items())}
    return {
        "data": dict(sorted(data.items())),
        "code": dict(sorted(code.items())),
        "parameters": {asset: known.get("parameters") for asset, known in described.items()},
        "libraries": {name: version for known in described.values()
                      for name, version in known.get("distributions", {}).items()},
        "environment": environment,
        "split": artifact.computation.get("split"),
    }  # fmt: skip


def _parted(label: str, id_: str) -> tuple[str, str, str | None]:
    """Takes `asset[partition]` apart."""
    asset, _, partition = label.removesuffix("]").partition("[")
    return asset, id_, partition or None
