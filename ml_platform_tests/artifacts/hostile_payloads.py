"""Bytes that would execute something if anybody unpickled them; the control does, and counts."""

import io
import os
import pickle
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from ml_platform_tests.artifacts.hostile import FILES, Maker, zipped

MARKER = "executed"


class Bomb:
    """Calls something when it is unpickled."""

    def __init__(self, *call: Any):
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def bombs(marker: Path) -> dict[str, Bomb]:
    """Returns bombs by the way in which they execute; each leaves the marker, or tries to reach a socket."""
    leave = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Bomb(os.system, f"touch {marker}"),
        "Popen": Bomb(subprocess.Popen, ["touch", str(marker)]),
        "exec": Bomb(exec, leave),
        "eval": Bomb(eval, leave),
        "open": Bomb(open, str(marker), "w"),
        "socket": Bomb(socket.create_connection, ("127.0.0.1", 9), 0.1),
    }


def payloads(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Yields every bomb in every form that some library would unpickle."""
    for name, bomb in bombs(marker).items():
        for protocol in (0, 2, 5):
            yield f"{name}, protocol {protocol}", pickle.dumps(bomb, protocol)
        packed = io.BytesIO()
        joblib.dump(bomb, packed, compress=("zlib", 1))
        yield f"{name}, joblib", packed.getvalue()
        array = io.BytesIO()
        np.save(array, np.array([bomb, None], dtype=object), allow_pickle=True)
        yield f"{name}, numpy", array.getvalue()
        yield f"{name}, torch", zipped({"archive/data.pkl": pickle.dumps(bomb, 2), "archive/version": b"3\n"})


def pickles(maker: Maker) -> None:
    """Pickles under the names of files that are none."""
    for name, content in payloads(maker.base / MARKER):
        for kind, files in FILES.items():
            for file in files:
                maker.replaced(kind, file, content, f"a pickle as {file} ({name})")
        maker.manifest(f"a pickle ({name})", content)
