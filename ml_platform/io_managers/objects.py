"""How do fitted objects get from an asset to the store and back, without pickle?"""

from typing import Any

import dagster as dg

from ml_platform.artifacts import Fitted
from ml_platform.artifacts.objects import KIND, read_object, write_object
from ml_platform.errors import ArtifactError
from ml_platform.io_managers.metadata import asset_name, describe, trusted_types
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures


class SklearnIOManager(dg.ConfigurableIOManager):
    """Keeps scikit-learn objects as skops files.

    An asset returns a scikit-learn object, or `Fitted` with facts about its fit; it gets `Fitted`.
    """

    store: dg.ResourceDependency[StoreResource]

    @refusals_as_failures()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the object and makes it current."""
        asset = asset_name(context)
        fitted = obj if isinstance(obj, Fitted) else Fitted(obj)
        if not hasattr(fitted.estimator, "get_params"):
            found = type(fitted.estimator).__name__
            raise ArtifactError(f"{asset}: expected a scikit-learn object, found {found}: {fitted.estimator!r:.80}")
        trusted = trusted_types(context.definition_metadata or {})

        def write(folder: Any) -> dict[str, Any]:
            write_object(folder, fitted.estimator, trusted)
            return dict(fitted.facts)

        store = self.store.open()
        artifact = store.add(asset, None, KIND, write, fitted.inputs)
        store.promote([artifact])
        context.add_output_metadata(describe(artifact))

    @refusals_as_failures()
    def load_input(self, context: dg.InputContext) -> Fitted:
        """Loads the current version."""
        store = self.store.open()
        upstream = context.upstream_output
        trusted = trusted_types((upstream.definition_metadata if upstream else None) or {})
        return read_object(store, store.require(asset_name(context)), trusted)
