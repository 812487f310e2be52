"""Shows artifacts in Dagster: metadata, column schemas and data versions."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact
from ml_platform.schema import Schema


def asset_name(context: dg.InputContext | dg.OutputContext) -> str:
    """Returns the store's name of an asset: its key, with slashes."""
    return context.asset_key.to_user_string()


def describe(artifact: Artifact, *, reused: bool = False) -> dict[str, Any]:
    """Returns the metadata that every artifact has: the manifest, what was computed and what came out."""
    cache_key = {"cache_key": artifact.cache_key} if artifact.cache_key else {}
    return {
        "artifact": artifact.id,
        **cache_key,
        "size_bytes": dg.MetadataValue.int(artifact.size_bytes),
        "data_version": artifact.digest,
        "reused": reused,
    }


def show_version(context: dg.OutputContext, artifacts: Sequence[Artifact]) -> None:
    """Sets the data version in Dagster: that of the content.

    Dagster takes one for all partitions of a step (`_get_output_asset_events`), so it gets one of all together; our
    event log puts each partition's own on its event (`storages/sqlite.py`).
    """
    digests = [artifact.digest for artifact in artifacts]
    version = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))


def column_schema(schema: Schema) -> dg.TableSchema:
    """Shows a schema the way the catalogue does."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
                description=f"{column.minimum:g} to {column.maximum:g}" if column.minimum is not None else None,
            )
            for column in schema.columns
        ]
    )


def trusted_types(metadata: Mapping[str, Any]) -> list[str]:
    """Reads which classes the code that defines an asset names; never from the file itself."""
    # A file that could name its own classes could name any class: skops loads none that is not on this list.
    value = metadata.get("ml_platform/uses", [])
    return list(getattr(value, "value", value))
