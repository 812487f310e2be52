"""The platform in small: the real pipeline's YAML over some hundred real rows, in a folder of its own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from ml_platform.artifacts import ArtifactStore, Frames, Report
from ml_platform.artifacts.reports import read_report
from ml_platform.components.ml_pipeline import pipeline_definitions
from ml_platform.components.sources import source_assets
from ml_platform.io_managers import FrameIOManager, ReportIOManager, SklearnIOManager
from ml_platform.launchers import routing_executor
from ml_platform.pipeline import CompiledPipeline, load_pipeline
from ml_platform.project import LOCAL_INSTANCE
from ml_platform.resources import SplitResource, StoreResource
from ml_platform.sources import TableSource
from ml_platform_tests import lake
from ml_platform_tests.repository import project_root

YAML = project_root() / "ml_platform" / "defs" / "flight_delays" / "pipeline.yaml"
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
YEAR = ("2013-01-01", "2013-12-01")


def small_yaml(*edits: tuple[str, str]) -> str:
    """Returns the real YAML over the sample, with gates that a model of so few rows passes."""
    text = YAML.read_text()
    always = [
        ("ml_platform.sources.nycflights13.", "ml_platform_tests.lake."),
        ("at_least: 0.695", "at_least: 0.4"),
        ("at_most: 0.455", "at_most: 2.0"),
        ("at_most: 0.75", "at_most: 0.85"),
        ("min_samples_leaf: 200", "min_samples_leaf: 20"),
    ]
    for old, new in (*always, *edits):
        assert old in text, f"{old!r} is not in the pipeline's YAML"
        text = text.replace(old, new)
    return text


def resources(base: Path) -> dict[str, object]:
    store = StoreResource(base=str(base))
    return {
        "store": store,
        "split": SplitResource(),
        "frames": FrameIOManager(store=store),
        "objects": SklearnIOManager(store=store),
        "reports": ReportIOManager(store=store),
    }


def definitions_in(folder: Path, tables: Sequence[TableSource] = lake.TABLES) -> dg.Definitions:
    """Builds the definitions of the pipeline that lies in a folder, with its store in the same."""
    return dg.Definitions.merge(
        pipeline_definitions(load_pipeline(folder / "pipeline.yaml")),
        dg.Definitions(
            assets=source_assets(tables),
            resources=resources(folder / "artifacts"),
            executor=routing_executor,
        ),
    )


def open_instance(home: Path) -> dg.DagsterInstance:
    """Opens a Dagster instance with the configuration of the local deployment."""
    home.mkdir(exist_ok=True)
    text = LOCAL_INSTANCE.read_text()
    (home / "dagster.yaml").write_text(text.replace("config: {}", f"config: {{base_dir: {home}}}"))
    return dg.DagsterInstance.from_config(str(home))


class Platform:
    """Definitions, a store and a Dagster instance in one folder.

    Args:
        text: the pipeline's YAML; by default the real one over the sample.
        seed: a platform whose store this one begins with a copy of; its events are not copied.
    """

    def __init__(
        self,
        folder: Path,
        text: str | None = None,
        tables: Sequence[TableSource] = lake.TABLES,
        seed: "Platform | None" = None,
    ):
        self.folder = folder
        if seed is not None:
            shutil.copytree(seed.store.base, folder / "artifacts")
        self.store = ArtifactStore(str(folder / "artifacts"))
        self.instance = open_instance(folder / "dagster")
        self.tables = tables
        self.declare(text or small_yaml())

    def declare(self, text: str) -> None:
        """Takes another YAML, as after an edit."""
        path = self.folder / "pipeline.yaml"
        path.write_text(text)
        self.pipeline: CompiledPipeline = load_pipeline(path)

    @property
    def definitions(self) -> dg.Definitions:
        return definitions_in(self.folder, self.tables)

    def run(
        self, *selection: str, partitions: tuple[str, str] = YEAR, as_of: str = "latest"
    ) -> dg.ExecuteInProcessResult:
        """Materializes some assets (all by default) for a range of partitions, in one run."""
        job = self.definitions.resolve_job_def(self.pipeline.spec.pipeline)
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(name.split("/")) for name in selection] or None,
            tags=dict(zip(RANGE, partitions, strict=True)),
            run_config={"resources": {"split": {"config": {"as_of": as_of}}}},
            raise_on_error=False,
        )

    def digests(self) -> dict[str, str]:
        """Returns label to content digest of everything current."""
        keys = [key.to_user_string() for key in self.definitions.resolve_all_asset_keys()]
        found = {}
        for asset in keys:
            for partition in (None, *self.store.partitions(asset)):
                artifact = self.store.current(asset, partition)
                if artifact is not None:
                    found[artifact.label] = artifact.digest
        return found

    def frames(self, asset: str) -> Frames:
        return Frames.current(self.store, asset, self.store.partitions(asset) or None)

    def report(self, asset: str) -> Report:
        return read_report(self.store, self.store.require(asset))


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Returns the first failed step's reason."""
    data = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error.cause is not None:
        error = error.cause
    return error.message
