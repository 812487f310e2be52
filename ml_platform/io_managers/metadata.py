"""What of an artifact does Dagster show?"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact
from ml_platform.schema import Schema


def asset_name(context: dg.InputContext | dg.OutputContext) -> str:
    """Gives the store's name of an asset: its key, with slashes."""
    return context.asset_key.to_user_string()


def describe(artifact: Artifact) -> dict[str, Any]:
    """Gives the metadata that every artifact has."""
    return {
        "artifact": artifact.id,
        "size_bytes": dg.MetadataValue.int(artifact.size_bytes),
        "data_version": artifact.digest,
    }


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
    value = metadata.get("ml_platform/uses", [])
    return list(getattr(value, "value", value))
