"""Measures what Dagster costs: the demo's steps as plain Python calls in memory, against the same through Dagster.

Both run in this process, one after the other, `--rounds` times; the best of each is compared. Dagster's side stores
and verifies every artifact and writes every event; the plain side stores nothing.
"""

import argparse
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from ml_platform.artifacts import Report
from ml_platform.definitions import defs
from ml_platform.evaluation.gates import check_gates
from ml_platform.evaluation.metrics import by_group, confusion
from ml_platform.evaluation.page import render_page
from ml_platform.evaluation.pictures import draw_all
from ml_platform.io_managers import FrameIOManager, ReportIOManager, SklearnIOManager
from ml_platform.pipeline import CompiledPipeline, load_pipeline
from ml_platform.pipeline.compiled import build_use
from ml_platform.resources import SplitResource, StoreResource
from ml_platform.runtime.steps import apply_plain
from ml_platform.sources.nycflights13 import TABLES
from ml_platform.storages.sqlite import KeptEngineSqliteEventLogStorage
from ml_platform.tasks import TASKS
from ml_platform.training.models import features_and_target
from ml_platform_tests.dagster_internals import SqliteEventLogStorage

ROOT = Path(__file__).parents[1]
YAML = ROOT / "ml_platform" / "defs" / "flight_delays" / "pipeline.yaml"
TASK = TASKS["binary"]
TRAIN, VALIDATION, TEST = slice(0, 8), slice(8, 9), slice(9, 12)


class Watch:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started


def run_plain(pipeline: CompiledPipeline) -> dict[str, float]:
    """Makes everything that the demo makes, by plain calls, keeping frames in memory."""
    watch, months = Watch(), pipeline.features.spans.keys
    frames: dict[str, dict[str | None, pd.DataFrame]] = {}
    for name, source in pipeline.sources.items():
        with watch.on(source.asset):
            table = next(table for table in TABLES if table.asset == source.asset)
            frames[name] = table.read(months if source.spans else [None])
    for name, step in pipeline.steps.items():
        transformer, first = step.build(), frames[step.use.inputs[0]]
        if step.learns:
            with watch.on(step.fitted_asset):
                train = pd.concat([first[key] for key in months[TRAIN]], ignore_index=True)
                transformer.fit(train[step.columns] if step.columns else train)
        with watch.on(step.asset):
            frames[name] = {key: plain_transform(pipeline, step, transformer, frames, key) for key in months}
    plain_models(pipeline, frames[pipeline.spec.features.step], watch)
    return dict(watch.seconds)


def plain_transform(pipeline: CompiledPipeline, step: Any, transformer: Any, frames: Any, key: str) -> pd.DataFrame:
    frame = frames[step.use.inputs[0]][key]
    if step.is_plain:
        return apply_plain(step, transformer, frame)
    side = {}
    for name in step.side_inputs:
        keys = step.spans.with_lookback(key, step.lookback) if pipeline.spans_of(name) else [None]
        side[name] = pd.concat([frames[name][part] for part in keys], ignore_index=True)
    return transformer.transform(frame, **side)


def plain_models(pipeline: CompiledPipeline, frames: dict[Any, pd.DataFrame], watch: Watch) -> None:
    spec, months = pipeline.spec, pipeline.features.spans.keys
    rows = {name: pd.concat([frames[key] for key in months[part]], ignore_index=True) for name, part in
            (("train", TRAIN), ("validation", VALIDATION), ("both", slice(0, 9)), ("test", TEST))}  # fmt: skip
    data = {name: features_and_target(pipeline, frame) for name, frame in rows.items()}
    models, losses = {}, {}
    for name, model in spec.models.items():
        with watch.on(spec.asset(name)):
            trial = build_use(model).fit(*data["train"])
            losses[name] = TASK.score(data["validation"][1], TASK.answer(trial, data["validation"][0]))["log_loss"]
            models[name] = build_use(model).fit(*data["both"])
    best = min(losses, key=losses.__getitem__)
    with watch.on(spec.asset("evaluation")):
        evaluate_plainly(pipeline, models, losses, best, rows["test"], data["test"])
    with watch.on(spec.asset("predictions")):
        for key in months:
            models[best].predict_proba(frames[key][spec.features.columns])


def evaluate_plainly(
    pipeline: CompiledPipeline, models: Any, losses: Any, best: str, rows: pd.DataFrame, test: Any
) -> Report:
    """The same figures, pictures and page."""
    (features, target), spec = test, pipeline.spec
    guesses = {name: TASK.answer(model, features) for name, model in models.items()}
    scores = {name: TASK.score(target, guess) for name, guess in guesses.items()}
    about = {"rows_train": 0, "class": "", "digest": ""}
    facts = {
        "pipeline": "", "description": "", "task": "binary", "target": spec.target, "metrics": list(TASK.metrics),
        "selected_by": "log_loss", "best": best, "split": {}, "rows_train": 0,
        "rows_test": len(rows), "rate_test": 0.0, **scores[best], "features": [], "data_test": {},
        "models": {name: scores[name] | about | {"validation_log_loss": losses[name]} for name in models},
        "confusion": confusion(target, guesses[best], 0.25),
        "by": {column: by_group(rows, column, TASK, target, guesses[best]) for column in spec.evaluation.by},
        "gates": [result.model_dump() for result in check_gates(spec.gates, scores[best])],
    }  # fmt: skip
    pictures = draw_all(facts, target, guesses)
    return Report(facts, pictures, render_page(facts, pictures))


def run_dagster(storage: type, events: Watch) -> tuple[float, dict[str, float], int]:
    """Runs the job once in a fresh instance; gives its seconds, those of each step, and the count of events."""
    with tempfile.TemporaryDirectory() as folder:
        resource = StoreResource(base=f"{folder}/artifacts")
        definitions = dg.Definitions.merge(dg.Definitions(
            assets=list(defs().assets or []), asset_checks=list(defs().asset_checks or []), jobs=list(defs().jobs or []),
            resources={"store": resource, "split": SplitResource(), "frames": FrameIOManager(store=resource),
                       "objects": SklearnIOManager(store=resource), "reports": ReportIOManager(store=resource)},
            loggers={"quiet": _quiet},
        ))  # fmt: skip
        job = definitions.resolve_job_def("flight_delays")
        with timed_events(storage, events), instance_with(storage, folder) as instance:
            keys = job.partitions_def.get_partition_keys()
            tags = {
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            }
            started = time.perf_counter()
            result = job.execute_in_process(
                instance=instance, tags=tags, run_config={"loggers": {"quiet": {}}}, raise_on_error=True
            )
            seconds = time.perf_counter() - started
        steps = {e.step_key: e.event_specific_data.duration_ms / 1000 for e in result.all_events if e.is_step_success}
        return seconds, {name.replace("__", "/", 1): took for name, took in steps.items()}, len(result.all_events)


@dg.logger(None)
def _quiet(_context: dg.InitLoggerContext) -> logging.Logger:
    return logging.Logger("quiet", logging.CRITICAL)


@contextmanager
def timed_events(storage: type, events: Watch) -> Iterator[None]:
    """Times every write of an event."""
    original = storage.store_event

    def store_event(self: Any, event: Any) -> None:
        with events.on("events"):
            original(self, event)

    storage.store_event = store_event
    try:
        yield
    finally:
        storage.store_event = original


def instance_with(storage: type, folder: str) -> dg.DagsterInstance:
    home = Path(folder) / "home"
    home.mkdir()
    overrides = {"event_log_storage": {"module": storage.__module__, "class": storage.__name__,
                                       "config": {"base_dir": str(home / "storage")}},
                 "telemetry": {"enabled": False}}  # fmt: skip
    return dg.DagsterInstance.local_temp(str(home), overrides=overrides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    pipeline = load_pipeline(YAML)
    import matplotlib.figure  # noqa: F401
    import skops.io  # noqa: F401  (imports are start-up, measured elsewhere)

    run_plain(pipeline)  # warms the caches of both
    plain, ours, stock, event_seconds, stock_events = [], [], [], [], []
    for _ in range(rounds):
        plain.append(run_plain(pipeline))
        events = Watch()
        ours.append(run_dagster(KeptEngineSqliteEventLogStorage, events))
        event_seconds.append(events.seconds["events"])
        events = Watch()
        stock.append(run_dagster(SqliteEventLogStorage, events))
        stock_events.append(events.seconds["events"])
    report(plain, ours, stock, event_seconds, stock_events)


def report(plain: Any, ours: Any, stock: Any, event_seconds: Any, stock_events: Any) -> None:
    base = min(sum(one.values()) for one in plain)
    best = min(range(len(ours)), key=lambda index: ours[index][0])
    seconds, steps, count = ours[best]
    worst = min(range(len(stock)), key=lambda index: stock[index][0])
    print(f"rounds {len(plain)}; seconds of the best round\n")
    print("| | seconds | ratio to plain |\n|---|---|---|")
    print(f"| plain Python, nothing stored | {base:.1f} | 1 |")
    print(f"| through Dagster, every artifact stored | {seconds:.1f} | {seconds / base:.2f} |")
    without = seconds - event_seconds[best]
    print(
        f"| the same without writing {count} events ({event_seconds[best]:.1f} s) | {without:.1f} | {without / base:.2f} |"
    )
    took = stock[worst][0]
    print(
        f"| through Dagster, its stock SQLite event log ({stock_events[worst]:.1f} s of events) | {took:.1f} | {took / base:.2f} |"
    )
    quickest = {name: min(one[name] for one in plain) for name in plain[0]}
    print("\n| asset | plain s | Dagster s | added s |\n|---|---|---|---|")
    for name, took in steps.items():
        alone = quickest.get(name, 0.0)
        print(f"| {name} | {alone:.2f} | {took:.2f} | {took - alone:+.2f} |")


if __name__ == "__main__":
    main()
