"""How do reports get from an asset to the store and back?"""

from pathlib import Path
from typing import Any

import dagster as dg

from ml_platform.artifacts import Report
from ml_platform.artifacts.reports import KIND, PAGE, read_report, write_report
from ml_platform.errors import ArtifactError
from ml_platform.io_managers.metadata import asset_name, describe
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures


class ReportIOManager(dg.ConfigurableIOManager):
    """Keeps reports as JSON with pictures and a page. An asset returns a `Report`; it gets one with the facts."""

    store: dg.ResourceDependency[StoreResource]

    @refusals_as_failures()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the report and makes it current."""
        asset = asset_name(context)
        if not isinstance(obj, Report):
            raise ArtifactError(f"{asset}: expected a Report, found {type(obj).__name__}: {obj!r:.80}")
        store = self.store.open()

        def write(folder: Path) -> dict[str, Any]:
            return write_report(folder, obj)

        artifact = store.add(asset, None, KIND, write, obj.inputs)
        store.promote([artifact])
        page = {"report": dg.MetadataValue.path(str(store.open(artifact) / PAGE))} if obj.page else {}
        context.add_output_metadata({**describe(artifact), **page})

    @refusals_as_failures()
    def load_input(self, context: dg.InputContext) -> Report:
        """Loads the current version's facts."""
        store = self.store.open()
        return read_report(store, store.require(asset_name(context)))
