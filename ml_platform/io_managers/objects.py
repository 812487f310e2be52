"""Reads and writes fitted scikit-learn objects for Dagster assets, without pickle."""

from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact, ArtifactStore, Fitted
from ml_platform.artifacts.objects import KIND, stored_object, write_object
from ml_platform.errors import ArtifactError
from ml_platform.io_managers.metadata import asset_name, describe, show_version, trusted_types
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures
from ml_platform.runtime import Materialized


class SklearnIOManager(dg.ConfigurableIOManager):
    """Keeps scikit-learn objects as skops files, networks as safetensors and JSON.

    An asset returns a scikit-learn object, `Fitted` with facts about its fit, or `Materialized`; it gets `Fitted`.
    """

    store: dg.ResourceDependency[StoreResource]

    @refusals_as_failures()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the object, if it is not in the store yet, and makes it current."""
        store = self.store.open()
        made = obj if isinstance(obj, Materialized) else Materialized(self._write(store, context, obj), False, 0.0)
        store.promote([made.artifact])
        show_version(context, [made.artifact])
        context.add_output_metadata(describe(made.artifact, reused=made.reused))

    def _write(self, store: ArtifactStore, context: dg.OutputContext, obj: Any) -> Artifact:
        asset = asset_name(context)
        fitted = obj if isinstance(obj, Fitted) else Fitted.of(obj)
        if not hasattr(fitted.estimator, "get_params"):
            found = type(fitted.estimator).__name__
            raise ArtifactError(f"{asset}: expected a scikit-learn object, found {found}: {fitted.estimator!r:.80}")
        trusted = trusted_types(context.definition_metadata or {})

        def write(folder: Any) -> dict[str, Any]:
            write_object(folder, fitted.estimator, trusted)
            return dict(fitted.facts)

        return store.add(asset, None, KIND, write)

    @refusals_as_failures()
    def load_input(self, context: dg.InputContext) -> Fitted:
        """Returns the current version, which is read when it is used."""
        store = self.store.open()
        # Of the asset that made it: its definition has the classes that it may be made of.
        upstream = context.upstream_output
        trusted = trusted_types((upstream.definition_metadata if upstream else None) or {})
        return stored_object(store, store.require(asset_name(context)), trusted)
