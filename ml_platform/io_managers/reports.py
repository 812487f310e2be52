"""Reads and writes reports for Dagster assets."""

from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact, ArtifactStore, Report
from ml_platform.artifacts.reports import KIND, PAGE, read_report, write_report
from ml_platform.errors import ArtifactError
from ml_platform.io_managers.metadata import asset_name, describe, show_version
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures
from ml_platform.runtime import Materialized


class ReportIOManager(dg.ConfigurableIOManager):
    """Keeps reports as JSON with pictures and a page; assets return a `Report` or `Materialized`."""

    store: dg.ResourceDependency[StoreResource]

    @refusals_as_failures()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the report, if it is not in the store yet, and makes it current."""
        store = self.store.open()
        made = (
            obj if isinstance(obj, Materialized) else Materialized(_write(store, asset_name(context), obj), False, 0.0)
        )
        artifact = made.artifact
        store.promote([artifact])
        show_version(context, [artifact])
        has_page = any(file.name == PAGE for file in artifact.files)
        page = {"report": dg.MetadataValue.path(str(store.open(artifact) / PAGE))} if has_page else {}
        context.add_output_metadata({**describe(artifact, reused=made.reused), **page})

    @refusals_as_failures()
    def load_input(self, context: dg.InputContext) -> Report:
        """Loads the current version's facts."""
        store = self.store.open()
        return read_report(store, store.require(asset_name(context)))


def _write(store: ArtifactStore, asset: str, obj: Any) -> Artifact:
    if not isinstance(obj, Report):
        raise ArtifactError(f"{asset}: expected a Report, found {type(obj).__name__}: {obj!r:.80}")
    return store.add(asset, None, KIND, lambda folder: write_report(folder, obj))
