"""One side of a comparison, in a process of its own: `parity_child RUNTIME PIPELINE.yaml FOLDER [ROWS]`.

It makes everything from nothing in the folder's store and says in one line of JSON in which environment it did.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore
from ml_platform.artifacts.frames import KIND, write_frame
from ml_platform.errors import PlatformError
from ml_platform.pipeline.compiled import CompiledPipeline, compile_spec
from ml_platform.pipeline.signatures import inspect
from ml_platform.pipeline.spec import PipelineSpec, load_spec
from ml_platform.runtime.environment import thread_count
from ml_platform.runtime.graph import nodes_of


def main() -> None:
    """Runs one side."""
    runtime, path, folder, *rows = sys.argv[1:]
    # What is compared is what is computed; whether it is good enough is the gates' matter.
    spec = load_spec(Path(path)).model_copy(update={"gates": {}})
    count = int(rows[0]) if rows else None
    started = time.perf_counter()
    try:
        _RUNTIMES[runtime](spec, Path(folder), count)
    except PlatformError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.write("\n" + json.dumps({"seconds": time.perf_counter() - started, **_environment(spec)}) + "\n")


def _environment(spec: PipelineSpec) -> dict[str, Any]:
    """Records what of this process may decide bytes."""
    nodes = nodes_of(compile_spec(spec, inspect(spec))).values()
    libraries = {name: version for node in nodes for name, version in (node.code or {})["distributions"].items()}
    return {"threads": thread_count(), "libraries": dict(sorted(libraries.items()))}


def run_in_process(spec: PipelineSpec, folder: Path, rows: int | None) -> None:
    """Makes everything as a notebook does, and keeps the estimator's own answers beside it."""
    from ml_platform.runtime.estimator import Pipeline

    store = ArtifactStore(str(folder / "artifacts"))
    pipeline = Pipeline(spec, store=store, rows=rows, verbose=False).fit()
    made = pipeline.materialize_all().artifacts
    # The estimator moves no head; here the comparison reads by heads, in a store that nobody else reads.
    store.promote(artifact for parts in made.values() for artifact in parts.values())
    sources = pipeline.sources()
    answers = pipeline.transform(sources)[list(pipeline.compiled.features.key)]
    answers = answers.assign(**pipeline.answers(sources))
    store.promote([_keep(store, answers)])


def _keep(store: ArtifactStore, answers: Any) -> Artifact:
    return store.add("estimator/predictions", None, KIND, lambda place: write_frame(place, answers))


def run_in_dagster(spec: PipelineSpec, folder: Path, rows: int | None) -> None:
    """Makes everything as Dagster assets, all partitions in one run of an instance of its own."""
    import dagster as dg

    compiled = replace(compile_spec(spec, inspect(spec)), rows=rows)
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        job = _definitions(compiled, folder).resolve_job_def(spec.pipeline)
        keys = job.partitions_def.get_partition_keys() if job.partitions_def else []
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        tags = dict(zip(names, (keys[0], keys[-1]), strict=True)) if keys else {}
        result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        if not result.success:
            failed = next(event for event in result.all_events if event.is_step_failure)
            raise PlatformError(str(failed.step_failure_data.error or failed.step_failure_data.user_failure_data))


def _definitions(compiled: CompiledPipeline, folder: Path) -> Any:
    import dagster as dg

    from ml_platform.components.ml_pipeline import pipeline_definitions
    from ml_platform.components.project import resources_for_project
    from ml_platform.components.sources import source_assets

    tables = [compiled.table(name) for name in compiled.sources]
    return dg.Definitions.merge(
        pipeline_definitions(compiled),
        dg.Definitions(assets=source_assets(tables)),
        resources_for_project(str(folder / "artifacts")),
    )


_RUNTIMES = {"in process": run_in_process, "dagster": run_in_dagster}

if __name__ == "__main__":
    main()
