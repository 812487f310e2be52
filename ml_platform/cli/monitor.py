"""Shows a person at a terminal what a run is doing while it works."""

import logging
from collections import Counter
from types import TracebackType
from typing import Any, Self

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ml_platform.runtime.progress import line_of


class Watcher(logging.Handler):
    """Prints one line for each finished asset, and the reason of each failure."""

    def __init__(self, console: Console):
        super().__init__()
        self.materialized: Counter[str] = Counter()
        self.first_failure = ""
        self._console = console
        self._status = Status("", console=console)
        self._rows: Counter[str] = Counter()
        self._reused: Counter[str] = Counter()
        self._count = 0
        self._done = 0

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def start(self, count: int) -> None:
        """Sets how many assets there will be."""
        self._count = count

    def logger(self) -> dg.LoggerDefinition:
        """Returns this watcher as a Dagster logger."""

        @dg.logger(None, description="One line for each finished asset.")
        def terminal(_context: dg.InitLoggerContext) -> logging.Logger:
            # Not by logging.getLogger, which would keep this handler for the next run in the same process.
            logger = logging.Logger("ml_platform.terminal", logging.DEBUG)
            logger.addHandler(self)
            return logger

        return terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Receives one record of the run."""
        event: DagsterEvent | None = record.__dict__.get("dagster_meta", {}).get("dagster_event")
        if event is None:
            self._said(record)
            return
        actions: dict[DagsterEventType, Any] = {
            DagsterEventType.STEP_START: self._started,
            DagsterEventType.ASSET_MATERIALIZATION: self._materialized,
            DagsterEventType.ASSET_CHECK_EVALUATION: self._checked,
            DagsterEventType.STEP_SUCCESS: self._succeeded,
            DagsterEventType.STEP_FAILURE: self._failed,
        }
        action = actions.get(event.event_type)
        if action:
            action(event)

    def _said(self, record: logging.LogRecord) -> None:
        """Prints what a step says; that steps after a failed one do not run goes without saying."""
        text = str(record.__dict__.get("dagster_meta", {}).get("orig_message", record.getMessage()))
        if record.levelno >= logging.INFO and not text.startswith("Dependencies for step"):
            self._console.print(f"        {text}", style="dim", highlight=False, markup=False, soft_wrap=True)

    def _started(self, event: DagsterEvent) -> None:
        self._status.update(f"{_name(event)} ...")

    def _materialized(self, event: DagsterEvent) -> None:
        name = _name(event)
        metadata = event.step_materialization_data.materialization.metadata
        rows = metadata.get("dagster/partition_row_count", metadata.get("dagster/row_count"))
        self.materialized[name] += 1
        reused = metadata.get("reused")
        self._reused[name] += bool(reused is not None and reused.value)
        self._rows[name] += (rows.value or 0) if isinstance(rows, dg.IntMetadataValue) else 0

    def _succeeded(self, event: DagsterEvent) -> None:
        name = _name(event)
        if name not in self.materialized:
            return
        self._done += 1
        seconds = (event.step_success_data.duration_ms or 0) / 1000
        line = line_of(name, self._rows[name], seconds, self.materialized[name], self._reused[name])
        self._console.print(f"[green]✓[/] {self._done:>2}/{self._count} {line}", highlight=False, soft_wrap=True)

    def _checked(self, event: DagsterEvent) -> None:
        check = event.asset_check_evaluation_data
        mark = "[green]✓[/] gate" if check.passed else "[red]✗ gate[/]"
        value = check.metadata["value"].value
        bound = check.metadata["bound"].value
        self._console.print(f"{mark}  {check.check_name}: {value:.4f}, expected {bound}", highlight=False)

    def _failed(self, event: DagsterEvent) -> None:
        data = event.step_failure_data
        told = data.user_failure_data.description if data.user_failure_data else None
        reason = told or _innermost(data.error)
        self.first_failure = self.first_failure or f"{_name(event)}: {reason}"
        self._console.print(f"[red]✗[/] {escape(f'{_name(event)}: {reason}')}", soft_wrap=True, highlight=False)


def _innermost(error: Any) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no reason was recorded"
    text = str(error.message).strip()
    return text.split(": ", 1)[1] if text.startswith("dagster.") and ": " in text else text


def _name(event: DagsterEvent) -> str:
    key = event.asset_key
    return key.to_user_string() if key else str(event.step_key).replace("__", "/", 1)
