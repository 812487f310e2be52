"""Fits and transforms for the estimator: `SourceEngine` from the lake's sources, `RowEngine` from in-memory rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import ArtifactStore, Fitted, Frames, Report, default_store
from ml_platform.artifacts.lineage import require_same_lineage
from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.evaluation.report_schemas import Selection
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime.context import RunContext
from ml_platform.runtime.progress import Progress
from ml_platform.runtime.rows import RowPath, aligned, labels_by_key, path_to
from ml_platform.runtime.session import Session
from ml_platform.runtime.split import split_over
from ml_platform.tasks import TASKS
from ml_platform.training.models import features_and_target


class Sources(Mapping[str, Frames]):
    """A pipeline's sources by name, read from the lake: all partitions, or those that were chosen."""

    def __init__(self, frames: Mapping[str, Frames], partitions: Sequence[str] | None):
        self.partitions = partitions
        self._frames = dict(frames)

    def __getitem__(self, name: str) -> Frames:
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


@dataclass(frozen=True)
class EstimatorOptions:
    """What an estimator was told when it was asked.

    Attributes:
        entry: the source or step whose rows a frame holds; None: the source that the features come from.
        until: the last step of interest; None: all of them, and the models.
    """

    pipeline: CompiledPipeline
    store: ArtifactStore | None = None
    entry: str | None = None
    until: str | None = None
    as_of: str = "latest"
    verbose: bool = True

    @property
    def last_step(self) -> str:
        """The step whose frames come out."""
        return self.until or self.pipeline.spec.features.step

    def steps_needed(self) -> set[str]:
        """Lists the steps that the last one needs, itself included."""
        pending, found = [self.last_step], set()
        while pending:
            name = pending.pop()
            if name in self.pipeline.steps and name not in found:
                found.add(name)
                pending += self.pipeline.steps[name].use.inputs
        return found


@dataclass(frozen=True)
class FitResult:
    """What fitting gave.

    Attributes:
        steps: what each step learnt, by step; `models`: the fitted models by name, none where it ended with a step.
        best: the name of the model that predicts.
        threshold: the probability from which the answer is 1; None if the task is not binary.
        classes: the classes in the order of an answer's columns.
    """

    steps: Mapping[str, Fitted]
    models: Mapping[str, Fitted] = field(default_factory=dict)
    best: str | None = None
    threshold: float | None = None
    classes: Any = None


class SourceEngine:
    """Takes sources partition by partition, as Dagster does: every value is kept in the store, and reused from it.

    Args:
        fitted: the session of an engine that has fitted: its fitted steps and models are used, whatever is newer.
    """

    def __init__(self, options: EstimatorOptions, fitted: Session | None = None):
        self.options = options
        self.fitted = fitted

    @contextmanager
    def session(self, partitions: Sequence[str] | None) -> Iterator[Session]:
        """Opens what materializes values here, for these partitions or for all that are declared."""
        options, fitted = self.options, self.fitted
        every = next((source.spans.keys for source in options.pipeline.sources.values() if source.spans), [])
        chosen = every if partitions is None else partitions
        with Progress(is_shown=options.verbose) as progress:
            run = RunContext(
                options.store or default_store(),
                report=progress.report,
                pipeline=options.pipeline,
                resolve_split=lambda: (
                    fitted.run.split if fitted else split_over(options.pipeline, chosen, options.as_of)
                ),
            )
            session = Session(run, partitions, progress.update)
            for asset, parts in fitted.artifacts.items() if fitted else ():
                if session.nodes[asset].kind in ("fitted", "model", "selection"):
                    session.artifacts[asset] = dict(parts)
            yield session

    def sources(self, partitions: Sequence[str] | None) -> Sources:
        """Reads the sources from the lake."""
        with self.session(partitions) as session:
            names = {name: source.asset for name, source in self.options.pipeline.sources.items()}
            session.materialize(*names.values())
            return Sources({name: session.frames(asset) for name, asset in names.items()}, partitions)

    def fit(self, partitions: Sequence[str] | None) -> FitResult:
        """Fits the steps that learn, and the models, split as declared."""
        pipeline, spec = self.options.pipeline, self.options.pipeline.spec
        needed, has_models = self.options.steps_needed(), self.options.until is None
        learning = [step for step in pipeline.steps.values() if step.learns and step.name in needed]
        with self.session(partitions) as session:
            names = [*spec.models, "selection"] if has_models else []
            session.materialize(*(step.fitted_asset for step in learning), *map(spec.asset, names))
        self.fitted = session
        steps = {step.name: session.fitted(step.fitted_asset) for step in learning}
        if not has_models:
            return FitResult(steps)
        models = {name: session.fitted(spec.asset(name)) for name in spec.models}
        best = Selection.of(session.report(spec.asset("selection"))).best
        facts = models[best].facts
        return FitResult(steps, models, best, facts["validation"].get("threshold"), np.array(facts["classes"]))

    def frames(self, partitions: Sequence[str] | None, models: Mapping[str, Fitted]) -> Frames:
        """Materializes the frames of the last step.

        Raises:
            DataError: frames that went through other versions of steps than a model was trained on.
        """
        asset = self.options.pipeline.steps[self.options.last_step].asset
        with self.session(partitions) as session:
            session.materialize(asset)
            frames = session.frames(asset)
        for model in models.values() if self.options.until is None else ():
            require_same_lineage(frames, model)
        return frames

    def materialize_all(self, partitions: Sequence[str] | None) -> Session:
        """Materializes every value that Dagster would, the approval and the predictions included."""
        with self.session(partitions) as session:
            session.materialize(*session.nodes)
        return session

    def evaluate(self) -> Report:
        """Scores the fitted models on the test rows."""
        assert self.fitted is not None
        evaluation = self.options.pipeline.spec.asset("evaluation")
        with self.session(self.fitted.partitions) as session:
            session.materialize(evaluation)
            return session.report(evaluation)


class RowEngine:
    """Takes rows in memory, as any estimator does; what the steps look up besides comes from the lake.

    Raises:
        PlatformError: an entry that is not on the way to the last step.
    """

    def __init__(self, options: EstimatorOptions):
        self.options = options
        pipeline, names = options.pipeline, path_to(options.pipeline, options.last_step)
        entry = options.entry or names[0]
        if entry not in names:
            raise PlatformError(f"rows cannot enter behind {entry!r}: {expected_one_of(entry, names)}")
        steps = [pipeline.steps[name] for name in names[names.index(entry) + 1 :]]
        entered = pipeline.sources.get(entry) or pipeline.steps[entry]
        looked_up = {name: pipeline.asset_of(name) for step in steps for name in step.side_inputs}
        with SourceEngine(options).session(None) as session:
            session.materialize(*looked_up.values())
            sides = {name: session.frames(asset) for name, asset in looked_up.items()}
        self._path = RowPath(entry, steps, entered.key, sides)

    def fit(self, rows: pd.DataFrame, labels: Any) -> FitResult:
        """Fits on rows, all of which train: they have no validation part to choose a model by."""
        pipeline, key = self.options.pipeline, self._path.key
        known = None if labels is None else labels_by_key(rows, labels, key)
        result, steps = self._path.fit(rows, known, pipeline.spec.target)
        if self.options.until is not None:
            return FitResult(steps)
        if known is not None:
            result = result.assign(**{pipeline.spec.target: aligned(known, result, key)})
        (name,), task = pipeline.spec.models, TASKS[pipeline.spec.task]
        features, target = features_and_target(pipeline, result)
        task.require_learnable(target, "training")
        estimator = pipeline.build_model(name)
        estimator.fit(features, target)
        # Rows that all train leave none to choose a threshold on.
        threshold = 0.5 if pipeline.spec.task == "binary" else None
        return FitResult(steps, {name: Fitted.of(estimator)}, name, threshold, np.array(task.classes(estimator)))

    def transform(self, rows: pd.DataFrame, fitted: Mapping[str, Fitted]) -> pd.DataFrame:
        """Transforms rows that all must get an answer, in their order and with their index.

        Raises:
            RowsRefused: rows that a step drops.
        """
        return self._path.transform(rows, fitted)
