"""Offers a pipeline as one scikit-learn estimator, for notebooks and tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ml_platform.artifacts import ArtifactStore, Frames, Report, default_store
from ml_platform.artifacts.reports import read_answers
from ml_platform.errors import DataError, PlatformError, expected_one_of
from ml_platform.evaluation import Evaluation
from ml_platform.evaluation.comparison import Comparison, compare_answers
from ml_platform.pipeline.compiled import CompiledPipeline, compile_spec
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.pipeline.inspector import inspect_here
from ml_platform.pipeline.spec import PipelineSpec, check_graph, load_spec
from ml_platform.runtime.engines import EstimatorOptions, FitResult, RowEngine, SourceEngine, Sources
from ml_platform.runtime.parameters import NamedParts, description_of
from ml_platform.runtime.session import Session
from ml_platform.versions.source import text_hash


class Pipeline(NamedParts):
    """A declared pipeline as one scikit-learn estimator: `fit`, `transform`, `predict`, `predict_proba`.

    It takes either `Sources` (what Dagster takes: partition by partition, split as declared, filters apply, every
    value at the cache key that Dagster has for it, reused from either side) or a frame of rows, as any estimator does
    (all of them train; each gets its answer in its order, or `RowsRefused` names the step that drops it; what the
    steps look up besides comes from the lake). It moves no head of the store: production never sees it.

    Args:
        spec: the declaration; `Pipeline.load` reads one from YAML.
        store: where values are kept; None: where the project's Dagster keeps them.
        entry: the source or step whose rows a frame holds; None: the source that the features come from.
        until: the last step of interest; None: all of them, and the models.
        as_of: as of when rows are split, such as `2013-10-01`: only rows before that day are used.
        model: the one candidate to fit and use; None: all of them, and the best on the validation rows.
        rows: about how many rows of each partitioned source to take, evenly spaced; None: all of them.
        replaced: transformers and models that stand in for declared ones, by name; `set_params` fills it.
        verbose: whether to show progress.

    Attributes:
        fitted_: what each step learnt, by step.
        models_: the fitted models by name.
        best_: the name of the one that predicts.
        threshold_: the probability from which `predict` says 1; None if the task is not binary.
        classes_: the classes, if the task has such: 0 and 1 if it is binary.

    Examples:
        >>> pipeline = Pipeline.load("flight_delays").set_params(boosted__learning_rate=0.1)
        >>> pipeline.get_params()["boosted__learning_rate"]
        0.1
    """

    _compiled: tuple[tuple[Any, ...], CompiledPipeline] | None = None
    _row_engine: RowEngine | None = None
    _fitted_in: Session | None = None

    def __init__(  # noqa: PLR0913  (scikit-learn's way: every choice is a parameter)
        self,
        spec: PipelineSpec,
        *,
        store: ArtifactStore | None = None,
        entry: str | None = None,
        until: str | None = None,
        as_of: str = "latest",
        model: str | None = None,
        rows: int | None = None,
        replaced: Mapping[str, Any] | None = None,
        verbose: bool = True,
    ):
        self.spec = spec
        self.store = store
        self.entry = entry
        self.until = until
        self.as_of = as_of
        self.model = model
        self.rows = rows
        self.replaced = replaced
        self.verbose = verbose

    @classmethod
    def load(cls, name: str | Path, **parameters: Any) -> Self:
        """Loads a pipeline of the project by its name, or any by the path of its YAML.

        Raises:
            SpecError: every mistake of the declaration, with file and line: the same as `dg check defs` tells.
            PlatformError: no such pipeline, with those that exist.
        """
        loaded = cls(load_spec(find_pipeline(str(name))), **parameters)
        loaded._compile()
        return loaded

    def upto(self, step: str) -> Self:
        """Returns this pipeline as far as a step: `fit` and `transform` go no further."""
        self._require_step(step)
        return self._changed(until=step)

    def after(self, step: str) -> Self:
        """Returns this pipeline for rows that enter behind a step: frames of what that step gives."""
        self._require_step(step)
        return self._changed(entry=step)

    def _changed(self, **parameters: Any) -> Self:
        changed: Self = clone(self)
        return changed.set_params(**parameters)

    def _require_step(self, step: str) -> None:
        if step not in self.spec.steps:
            raise PlatformError(f"no step {step!r}: {expected_one_of(step, self.spec.steps)}")

    @property
    def compiled(self) -> CompiledPipeline:
        """The pipeline, checked as `dg check defs` checks it, with what stands in for declared parts.

        Raises:
            SpecError: every mistake, each at its place.
        """
        choices = (self.spec, self.replaced, self.rows, self.model)
        known = self._compiled
        if (
            known is None
            or any(a is not b for a, b in zip(known[0], choices, strict=True))
            or self._is_outdated(known[1])
        ):
            self._compile()
        assert self._compiled is not None
        return self._compiled[1]

    def _is_outdated(self, compiled: CompiledPipeline) -> bool:
        """Returns whether a stand-in or a file of code was changed since."""
        for name, built in (self.replaced or {}).items():
            if description_of(built) != description_of(compiled.objects[name]):
                return True
        return any(text_hash(Path(file)) != known for file, known in compiled.inspection.files.items())

    def _compile(self) -> None:
        check_graph(self.spec)
        # Copies: what the user does to an object later has no say in what was compiled, nor in its cache key.
        objects, spec = {name: clone(built) for name, built in (self.replaced or {}).items()}, self._narrowed()
        compiled = compile_spec(spec, inspect_here(spec, objects), objects)
        choices = (self.spec, self.replaced, self.rows, self.model)
        self._compiled = choices, replace(compiled, rows=self.rows)

    def _narrowed(self) -> PipelineSpec:
        """Returns the declaration with the one model that is asked for."""
        if self.model is None:
            return self.spec
        if self.model not in self.spec.models:
            raise PlatformError(f"no model {self.model!r}: {expected_one_of(self.model, self.spec.models)}")
        return self.spec.model_copy(update={"models": {self.model: self.spec.models[self.model]}})

    @property
    def _options(self) -> EstimatorOptions:
        return EstimatorOptions(self.compiled, self.store, self.entry, self.until, self.as_of, self.verbose)

    @property
    def _sources(self) -> SourceEngine:
        """The engine for sources, with the fitted steps and models of this pipeline if it was fitted on sources."""
        return SourceEngine(self._options, self._fitted_in)

    @property
    def _rows(self) -> RowEngine:
        """The engine for rows; it is kept, as what the steps look up is read once."""
        known, now = self._row_engine, self._options
        if known is None or (known.options.entry, known.options.until) != (now.entry, now.until):
            known = None
        if known is None or known.options.pipeline is not now.pipeline:
            known = self._row_engine = RowEngine(now)
        return known

    def sources(self, partitions: Sequence[str] | None = None) -> Sources:
        """Reads the sources from the lake, without Dagster.

        Args:
            partitions: keys such as `2013-05-01`; None for all that are declared.

        Raises:
            DataError: a partition that does not exist, or data that break what their source promises.
        """
        return SourceEngine(self._options).sources(partitions)

    def fit(self, X: Sources | pd.DataFrame | None = None, y: Any = None) -> Self:
        """Fits the steps that learn, and the models.

        Args:
            X: `Sources` (None: all of them), split as declared, or a frame of rows, all of which train.
            y: labels of a frame's rows (0 and 1); None: the target's column.
        """
        if isinstance(X, pd.DataFrame):
            self._require_one_model()
            rows = RowEngine(self._options)
            learnt = rows.fit(X, y)
            self._row_engine, self._fitted_in = rows, None
        elif y is not None:
            raise DataError("labels are given for a frame of rows; sources bring their own")
        else:
            sources = SourceEngine(self._options)
            learnt = sources.fit(None if X is None else X.partitions)
            self._row_engine, self._fitted_in = None, sources.fitted
        return self._keep(learnt)

    def _require_one_model(self) -> None:
        if self.until is None and len(self.compiled.spec.models) > 1:
            raise PlatformError(
                "rows have no validation part to choose a model by: name one with set_params(model=...): "
                f"{', '.join(self.spec.models)}"
            )

    def _keep(self, learnt: FitResult) -> Self:
        """Sets what scikit-learn expects of a fitted estimator: attributes that end in `_`."""
        self.fitted_ = learnt.steps
        if learnt.best is not None:
            self.models_, self.best_ = learnt.models, learnt.best
            self.threshold_, self.classes_ = learnt.threshold, learnt.classes
        return self

    def fit_transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        """Fits, then transforms the same."""
        return self.fit(X, y).transform(X)

    def transform(self, X: Sources | pd.DataFrame) -> pd.DataFrame:
        """Returns the features, or what the last step of interest gives: all its columns.

        Raises:
            RowsRefused: rows of a frame that a step drops.
        """
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame):
            return self._rows.transform(X, self.fitted_)
        return self._frames(X).read_all()

    def _frames(self, X: Sources) -> Frames:
        return self._sources.frames(X.partitions, getattr(self, "models_", {}))

    def predict_proba(self, X: Sources | pd.DataFrame) -> np.ndarray:
        """Returns the probabilities of `classes_`, shape (rows, classes), in the order of the rows or of `transform`'s.

        Raises:
            RowsRefused: rows of a frame that a step drops.
        """
        if self.task.asks != "predict_proba":
            raise PlatformError(f"{self.spec.pipeline} predicts a number, which has no probability; ask predict")
        return self._asked(X, lambda estimator, features: estimator.predict_proba(features))

    def predict(self, X: Sources | pd.DataFrame) -> np.ndarray:
        """Returns the class or number of each row; of two classes 1 from the threshold on that validation chose."""
        said: np.ndarray = self.answers(X)[f"predicted_{self.spec.target}"]
        return said.astype("int64") if self.spec.task == "binary" else said

    def answers(self, X: Sources | pd.DataFrame) -> dict[str, np.ndarray]:
        """Returns the columns that Dagster's predictions have beside the key."""
        answer = self._asked(X, self.task.answer)
        return self.task.columns(self.spec.target, answer, list(self.classes_), self.threshold_)

    def score(self, X: pd.DataFrame, y: Any) -> float:
        """Returns the accuracy of `predict`, for numbers R², as scikit-learn's estimators do."""
        from sklearn.metrics import accuracy_score, r2_score

        measure = r2_score if self.spec.task == "regression" else accuracy_score
        return float(measure(y, self.predict(X)))

    def _asked(self, X: Sources | pd.DataFrame, ask: Callable[[Any, pd.DataFrame], np.ndarray]) -> np.ndarray:
        """Asks the model, of sources one partition at a time, as Dagster does: how many rows there are decides bits."""
        if self.until is not None:
            raise PlatformError(f"this pipeline ends with step {self.until!r}; it has no model")
        check_is_fitted(self)
        estimator, names = self.models_[self.best_].estimator, self.spec.features.columns
        if isinstance(X, pd.DataFrame):
            return ask(estimator, self.transform(X)[names])
        frames, columns = self._frames(X).only(None), list(dict.fromkeys([*self.compiled.features.key, *names]))
        return np.concatenate([ask(estimator, frames.read(key, columns)[names]) for key in frames.parts])

    def materialize_all(self, X: Sources | None = None) -> Session:
        """Makes every value that Dagster would make, the approval and the predictions included; moves no head.

        Raises:
            GateError: if a gate failed.
        """
        return self._sources.materialize_all(None if X is None else X.partitions)

    def evaluate(self) -> Report:
        """Scores the models on the test rows, as Dagster's evaluation does; its facts are figures and gates."""
        check_is_fitted(self)
        if self._fitted_in is None or self.until is not None:
            raise PlatformError("an evaluation is for a pipeline with its models that was fitted on sources")
        return self._sources.evaluate()

    def compare(self, other: "Pipeline") -> Comparison:
        """Compares another fitted pipeline's evaluation with this one's, on the test rows that both have.

        Raises:
            DataError: evaluations that cannot be compared.
        """
        reports = [one.evaluate() for one in (self, other)]
        answers = []
        for one, report in zip((self, other), reports, strict=True):
            assert report.ref is not None
            answers.append(read_answers(one.store or default_store(), report.ref))
        return compare_answers((Evaluation.of(reports[0]), Evaluation.of(reports[1])), (answers[0], answers[1]))
