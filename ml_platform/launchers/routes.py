"""Reads which launcher each step of a run goes to from what the code declares, never from the run's tags."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dagster import AssetKey

from ml_platform.compat.dagster_steps import ExecutionPlanSnapshot, ExecutionStepSnap
from ml_platform.errors import LaunchError, expected_one_of

LAUNCHER_TAG = "ml_platform/launcher"  # on an op: a name, or a list of them to escalate through when memory runs out
ISOLATED_TAG = "ml_platform/isolated"  # on an op: "true" where the step must not share the run's process
_OWN_PODS = ("dagster-k8s/config", "dagster-ray/config")  # on an op: what its own pod or job shall be like

Tags = Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """Where a run goes, and which of its steps go elsewhere.

    Attributes:
        launcher: the launcher of the run's own process.
        elsewhere: step key to launcher, for the steps that another launcher takes.
    """

    launcher: str
    elsewhere: Mapping[str, str]

    def of(self, step_key: str) -> str:
        """Returns the launcher of a step; one that was made from another at run time follows it."""
        return self.elsewhere.get(as_planned(step_key), self.launcher)

    def __str__(self) -> str:
        if not self.elsewhere:
            return f"launcher {self.launcher}, with all its steps"
        groups: dict[str, list[str]] = {}
        for step, launcher in sorted(self.elsewhere.items()):
            groups.setdefault(launcher, []).append(step)
        parts = "; ".join(f"{', '.join(steps)} to launcher {name}" for name, steps in groups.items())
        return f"launcher {self.launcher}, but {parts}"


def escalation_of(tags: Tags | None, whose: str = "a step") -> tuple[str, ...]:
    """Returns the launchers that a step's tags name: the first, and those to escalate to; empty if they name none.

    >>> escalation_of({"ml_platform/launcher": "gpu"}), escalation_of({"ml_platform/launcher": '["cpu", "highmem"]'})
    (('gpu',), ('cpu', 'highmem'))

    Raises:
        LaunchError: a list that is empty or names a launcher twice.
    """
    text = (tags or {}).get(LAUNCHER_TAG, "")
    if not text.startswith("["):
        return (text,) if text else ()
    try:
        names = tuple(str(name) for name in json.loads(text))
    except json.JSONDecodeError:
        names = ()
    if not names or len(set(names)) < len(names):
        raise LaunchError(f"{whose} asks for launchers {text}; expected a list of at least one name, and each once")
    return names


def is_isolated(tags: Tags | None) -> bool:
    """Whether a step must not share the run's process: it says so, or asks for a pod with settings of its own."""
    found = tags or {}
    return found.get(ISOLATED_TAG) == "true" or any(tag in found for tag in _OWN_PODS)


def as_planned(step_key: str) -> str:
    """Names the planned step that one of a dynamic graph was made from.

    >>> as_planned("resize[a]"), as_planned("resize")
    ('resize[?]', 'resize')
    """
    return f"{step_key.partition('[')[0]}[?]" if "[" in step_key else step_key


def route_of(
    plan: ExecutionPlanSnapshot,
    step_keys: Sequence[str] | None,
    default: str,
    known: Sequence[str],
    tags_of_asset: Callable[[AssetKey], Tags] = lambda _: {},
    level_of: Callable[[str], int] = lambda _: 0,
) -> Route:
    """Reads a run's route from its plan.

    A check without a launcher of its own goes where its asset goes. All steps on one launcher: the run goes there.
    Else the run goes to the default, and the steps of other launchers go to theirs.

    Args:
        step_keys: the steps that the run executes; a plan may hold more. None: those that the plan says.
        default: the launcher of steps that name none.
        known: the launchers that exist.
        tags_of_asset: the tags of an asset that is not in the plan but whose check is.
        level_of: how often a step ran out of memory, which is how far it has escalated.

    Raises:
        LaunchError: a step that names no launcher, with the step and the launchers that exist.
    """
    executed = {as_planned(key) for key in (plan.step_keys_to_execute if step_keys is None else step_keys)}
    launcher_of_asset = _launchers_of_assets(plan, tags_of_asset)
    chosen = {}
    for step in plan.steps:
        if step.key in executed:
            escalation = escalation_of(step.tags, f"step {step.key}") or launcher_of_asset(step) or (default,)
            _require_existing(step.key, escalation, known)
            chosen[step.key] = escalation[min(level_of(step.key), len(escalation) - 1) if len(escalation) > 1 else 0]
    # One launcher for all steps takes the whole run: its process then does not have to send any.
    launchers = set(chosen.values())
    own = launchers.pop() if len(launchers) == 1 else default
    return Route(own, {step: launcher for step, launcher in chosen.items() if launcher != own})


def _launchers_of_assets(
    plan: ExecutionPlanSnapshot, tags_of_asset: Callable[[AssetKey], Tags]
) -> Callable[[ExecutionStepSnap], tuple[str, ...]]:
    """Returns a function from a check's step to the launchers of the asset that it checks."""
    made_by = {key: step.tags for step in plan.steps for key in step.entity_keys if isinstance(key, AssetKey)}

    def find(step: ExecutionStepSnap) -> tuple[str, ...]:
        if any(isinstance(key, AssetKey) for key in step.entity_keys):
            return ()
        checked = sorted({key.asset_key for key in step.entity_keys if not isinstance(key, AssetKey)})
        escalations = (escalation_of(made_by[key] if key in made_by else tags_of_asset(key)) for key in checked)
        return next((escalation for escalation in escalations if escalation), ())

    return find


def _require_existing(step_key: str, escalation: Sequence[str], known: Sequence[str]) -> None:
    for name in escalation:
        if name not in known:
            raise LaunchError(
                f"step {step_key} asks for launcher {name!r}, which does not exist; {expected_one_of(name, known)} "
                "(in dagster.yaml, under run_launcher: config: launchers)"
            )
