"""Makes a pipeline's steps and models scikit-learn parameters, by their names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator, clone
from sklearn.utils import ClassifierTags, RegressorTags

from ml_platform.errors import expected_one_of
from ml_platform.pipeline.compiled import build_use
from ml_platform.pipeline.spec import PipelineSpec
from ml_platform.tasks import TASKS, Task
from ml_platform.versions.description import Undescribable, describe

if TYPE_CHECKING:
    from ml_platform.pipeline.compiled import CompiledPipeline
    from ml_platform.runtime.engines import EstimatorOptions


class NamedParts(BaseEstimator):
    """An estimator whose parts are a pipeline's steps and models, as declared or replaced."""

    if TYPE_CHECKING:
        spec: PipelineSpec
        replaced: Mapping[str, Any] | None
        until: str | None

        @property
        def compiled(self) -> CompiledPipeline:
            """The pipeline with what stands in for declared parts."""

        @property
        def _options(self) -> EstimatorOptions: ...

    @property
    def task(self) -> Task:
        """What is predicted, and how it is judged."""
        return TASKS[self.spec.task]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        is_number = self.spec.task == "regression"
        tags.estimator_type = "regressor" if is_number else "classifier"
        tags.regressor_tags = RegressorTags() if is_number else None
        tags.classifier_tags = None if is_number else ClassifierTags()
        return tags

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the parameters; `deep` adds every step and model by its name, and theirs as `<name>__<parameter>`."""
        own = {name: getattr(self, name) for name in self._get_param_names()}
        if not deep:
            return own
        for name in (*self.spec.steps, *self.spec.models):
            built = self._object(name)
            own[name] = built
            own |= {f"{name}__{key}": value for key, value in built.get_params().items()}
        return own

    def set_params(self, **parameters: Any) -> Self:
        """Sets parameters: own ones, a step or model (`calendar=...`), or a part of one (`calendar__parts=...`).

        Raises:
            ValueError: no such name, with those that exist.
        """
        own, parts = self._get_param_names(), [*self.spec.steps, *self.spec.models]
        for key in parameters:
            name = key.partition("__")[0]
            if name not in (*own, *parts):
                raise ValueError(f"invalid parameter {name!r} of {self!r}: {expected_one_of(name, [*own, *parts])}")
        for name in parameters.keys() & set(own):
            setattr(self, name, parameters[name])
        # A whole part first: `calendar=..., calendar__parts=...` changes the new one, as in scikit-learn.
        self._replace({name: parameters[name] for name in parts if name in parameters})
        for name in parts:
            inner = {
                key.removeprefix(f"{name}__"): parameters[key] for key in parameters if key.startswith(f"{name}__")
            }
            if inner:
                self._replace({name: clone(self._object(name)).set_params(**inner)})
        return self

    def _replace(self, objects: Mapping[str, Any]) -> None:
        if objects:
            self.replaced = {**(self.replaced or {}), **objects}

    def _object(self, name: str) -> Any:
        """Returns the unfitted transformer or model that a name stands for."""
        if name in (self.replaced or {}):
            return (self.replaced or {})[name]
        return build_use(self.spec.steps[name] if name in self.spec.steps else self.spec.models[name])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        changed = [f"{name} replaced" for name in self.replaced or {}]
        bounds = [f"{name}={value!r}" for name in ("entry", "until") if (value := getattr(self, name)) is not None]
        return f"Pipeline({', '.join([repr(self.spec.pipeline), *bounds, *changed])})"

    def _sk_visual_block_(self) -> Any:
        from ml_platform.compat.sklearn import _VisualBlock

        def block(name: str) -> Any:
            built = self._object(name)
            return _VisualBlock(
                "single", built, names=name, name_caption=type(built).__name__, name_details=repr(built)
            )

        within = self._options.steps_needed()
        blocks = [block(name) for name in self.compiled.steps if name in within]
        if self.until is None:
            blocks.append(_VisualBlock("parallel", [block(name) for name in self.compiled.spec.models]))
        return _VisualBlock("serial", blocks, dash_wrapped=False)


def description_of(built: Any) -> str:
    """Describes an object well enough to see that it was changed."""
    try:
        return repr(describe(built))
    except Undescribable:
        return repr(built.get_params())
