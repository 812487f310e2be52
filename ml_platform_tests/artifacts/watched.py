"""Watches what happens while hostile files are read. Run as a process of its own: nothing switches an audit hook off."""

import json
import pickle
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pandas as pd

from ml_platform.artifacts import ArtifactStore, Frames
from ml_platform.errors import PlatformError
from ml_platform.io_managers import FrameIOManager, ReportIOManager, SklearnIOManager
from ml_platform.resources import StoreResource
from ml_platform.schema import Schema
from ml_platform.sources import TableSource
from ml_platform.transformers.sql import SQL
from ml_platform_tests.artifacts.hostile import ASSET, NETWORK, Case, Maker
from ml_platform_tests.artifacts.hostile_cases import all_cases
from ml_platform_tests.artifacts.hostile_payloads import MARKER, payloads
from ml_platform_tests.dagster_internals import ScopedResourcesBuilder

EXECUTES = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn", "exec",
            "socket.connect", "socket.bind", "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen", "os.putenv",
            "os.remove", "os.rename", "shutil.rmtree", "os.kill", "sys.addaudithook")  # fmt: skip
LONG_VALUES = "frame: one long "
WRITES = set("wax+")
USES = {"ml_platform/uses": [NETWORK]}


class Watch:
    """Counts what executes, imports or writes, between `begin` and the end of the process."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        is_write = event == "open" and isinstance(arguments[1], str) and bool(WRITES & set(arguments[1]))
        is_import = event == "import" and arguments[0] not in sys.modules
        if event in EXECUTES or is_write or is_import:
            self.seen.append(f"{event} {arguments!r:.200}")


class Planted(StoreResource):
    """The store that is read now: making resources takes longer than reading files."""

    base_read: ClassVar[str] = ""

    def open(self) -> ArtifactStore:
        return ArtifactStore(self.base_read)


MANAGERS: dict[str, Any] = {
    "frame": FrameIOManager(store=Planted()),
    "object": SklearnIOManager(store=Planted()),
    "report": ReportIOManager(store=Planted()),
}
NONE = ScopedResourcesBuilder().build(None)  # else each context makes an instance
FRAMES = dg.PythonObjectDagsterType(Frames)


def _input(kind: str, base: Path, **more: Any) -> Any:
    Planted.base_read = str(base)
    upstream = dg.OutputContext(asset_key=dg.AssetKey(ASSET.split("/")), definition_metadata=USES, resources=NONE)
    context = dg.InputContext(asset_key=upstream.asset_key, upstream_output=upstream, resources=NONE, **more)
    return MANAGERS.get(kind, MANAGERS["object"]).load_input(context)


def _frame(base: Path) -> None:
    _input("frame", base, dagster_type=dg.PythonObjectDagsterType(pd.DataFrame))


def _frame_in_sql(base: Path) -> None:
    frames = _input("frame", base, dagster_type=FRAMES)
    with SQL("SELECT count(*) AS n FROM rows", key=["n"]).transform_files([frames.path(None)]) as batches:
        batches.read_all()


def _frame_columns(base: Path) -> None:
    frames = _input("frame", base, dagster_type=FRAMES)
    assert frames.columns == frames.read(None).columns.tolist()


def _table(base: Path) -> None:
    (file,) = base.iterdir()
    schema = Schema.of(a="integer", b="integer")
    TableSource("t", "none", file.name, schema, ("a",), "a row", folder=base).read([None])


def ways(case: Case) -> list[Callable[[], Any]]:
    """Returns how the platform reads such a file: by its IO managers, its SQL steps, its sources, its store."""
    if case.kind == "source":
        return [lambda: _table(case.base)]
    if case.kind == "name":
        asset, partition, version = [*case.asked, None, None][:3]
        store = ArtifactStore(str(case.base))
        if version is not None:
            return [lambda: store.version(asset, version, partition)]
        return [lambda: store.require(asset, partition), lambda: store.partitions(asset)][
            : 2 if partition is None else 1
        ]
    if case.kind == "frame":
        through = [lambda: _frame(case.base), lambda: _frame_in_sql(case.base), lambda: _frame_columns(case.base)]
        return (
            through[:1] if case.name.startswith(LONG_VALUES) else through
        )  # DuckDB keeps to its memory_limit by itself
    loaded = (
        (lambda: _input(case.kind, case.base))
        if case.kind == "report"
        else lambda: _input(case.kind, case.base).estimator
    )
    return [loaded]


def outcome(way: Callable[[], Any]) -> tuple[str, str]:
    """Returns the class of the error and its message; empty where there is none."""
    try:
        way()
    except dg.Failure as failure:
        refused: BaseException = failure.__cause__ or failure
    except BaseException as error:  # noqa: BLE001  (whatever a file makes of its reader is looked for)
        refused = error
    else:
        return "", ""
    return "refused" if isinstance(refused, PlatformError) else type(refused).__name__, str(refused)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_all(folder: Path, watch: Watch) -> dict[str, Any]:
    """Reads every case in every way that there is."""
    maker = Maker(folder / "warm")
    for kind, honest in maker.honest.items():
        maker.plant("honest", kind, honest.files, "")
    maker.table("honest", "t.csv", b"a,b\n1,2\n")
    honest = [outcome(way) for case in maker.cases for way in ways(case)]  # imports what reading imports
    cases = list(all_cases(folder))
    start, results = peak_bytes(), []
    watch.is_on = True
    for case in cases:
        for way in ways(case):
            before = peak_bytes()
            kind, said = outcome(way)
            results.append([case.name, case.names, kind, said, peak_bytes() - before])
    watch.is_on = False
    return {"honest": honest, "results": results, "seen": watch.seen, "grown_bytes": peak_bytes() - start,
            "files": len(cases), "executed": (folder / MARKER).exists()}  # fmt: skip


def unpickle_all(folder: Path, watch: Watch) -> dict[str, Any]:
    """The control: unpickles each plain payload, as nobody should."""
    marker, live = folder / MARKER, 0
    tried = [content for name, content in payloads(marker) if "protocol" in name]
    watch.is_on = True
    for content in tried:
        before = len(watch.seen)
        outcome(lambda content=content: pickle.loads(content))
        live += len(watch.seen) > before
    return {"tried": len(tried), "live": live, "executed": marker.exists()}


if __name__ == "__main__":
    told = {"read": read_all, "control": unpickle_all}[sys.argv[1]](Path(sys.argv[2]), Watch())
    Path(sys.argv[3]).write_text(json.dumps(told))
