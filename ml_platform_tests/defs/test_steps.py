"""Every step of every pipeline keeps its promises, on the rows that it gets there."""

import pytest

from ml_platform import check_transformer
from ml_platform.contract.battery.report import Report
from ml_platform.pipeline import CompiledStep, load_pipeline
from ml_platform.pipeline.discovery import declared_pipelines
from ml_platform_tests import tiers
from ml_platform_tests.platform import YAML, Platform

PIPELINE = load_pipeline(YAML)


def report_of(platform: Platform, step: CompiledStep) -> Report:
    """Tries a step on frames that its inputs made."""
    frames = [platform.frames(platform.pipeline.asset_of(name)) for name in step.use.inputs]
    frame = frames[0].read_all()
    y = frame[PIPELINE.spec.target] if step.learns else None
    side = {name: other.read_all() for name, other in zip(step.side_inputs, frames[1:], strict=True)}
    return check_transformer(step.build(), frame[step.columns] if step.columns else frame, y, **side)


@pytest.mark.parametrize("name", tiers.cases("steps of pipelines and their promises", PIPELINE.steps))
def test_a_step_keeps_its_promises(name: str, made: Platform) -> None:
    report = report_of(made, made.pipeline.steps[name])
    assert report.broken == [], report
    if len(PIPELINE.steps[name].use.inputs) > 1:
        assert report["point_in_time"].outcome == "kept", report


def test_the_steps_of_all_pipelines_are_here_or_beside() -> None:
    """Those of digits are in test_digits; a variant has none of its own."""
    known = declared_pipelines()
    assert list(known) == ["digits", "flight_delays", "flight_delays_network"]
    assert load_pipeline(known["flight_delays_network"]).spec.steps == PIPELINE.spec.steps
