"""Tracks which versions of each step a value went through, and rejects inputs that mix versions."""

from collections.abc import Iterable, Mapping
from typing import Any

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.frames import Frames
from ml_platform.artifacts.objects import Fitted
from ml_platform.errors import DataError, first_few


def lineage(artifacts: Iterable[Artifact]) -> dict[str, Any]:
    """Returns the versions of the steps that values went through; refuses values that went through different ones.

    Returns:
        Step to `{"code": version}`, with `"fitted"` (digest of what it had learnt) and `"split"` where it learns.

    Raises:
        DataError: names the step, and the partitions that must be made again.
    """
    seen: dict[str, tuple[Artifact, Any]] = {}
    for artifact in artifacts:
        for step, state in artifact.lineage.items():
            # The first value that went through a step decides; it is kept to be named beside the one that differs.
            first, known = seen.setdefault(step, (artifact, state))
            if known != state:
                raise DataError(
                    f"{artifact.label} and {first.label} went through different versions of step {step!r} "
                    f"({_described(state)} and {_described(known)}); "
                    f"materialize all partitions of {artifact.asset} again"
                )
    return {step: state for step, (_, state) in seen.items()}


def _described(state: Mapping[str, Any]) -> str:
    fitted = state.get("fitted", "")[:8]
    return f"code {state['code'][:8]}" + (f", fitted state {fitted}" if fitted else "")


def require_same_lineage(frames: Frames, model: Fitted) -> None:
    """Refuses frames that went through other versions of steps than the model was trained on.

    Raises:
        DataError: names the steps, the frames and the model.
    """
    assert model.ref is not None
    # Both ways: a step that only the frames or only the model went through is a difference as well.
    states, trained = lineage(frames.parts.values()), model.ref.lineage
    other = [step for step in sorted({*states, *trained}) if states.get(step) != trained.get(step)]
    if other:
        labels = first_few([part.label for part in frames.parts.values()])
        raise DataError(
            f"{labels} went through other versions of {', '.join(other)} than {model.ref.label} was trained on; "
            f"materialize {frames.asset} and the model again, together"
        )
