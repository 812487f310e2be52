"""Fits and transforms in a separate process, under another hash seed, time zone, folder and clock.

`python -m ml_platform.contract.battery.worker` answers requests on its standard input. It imports libraries, never
the transformer's code, and forks for each request: a fork has what a new process would have, in a fraction of the time.
"""

import io
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from typing import IO, Any

LENGTH = struct.Struct("<Q")
CLOCK = datetime(2031, 7, 8, 9, 10, 11, tzinfo=UTC)


def send(stream: IO[bytes], content: bytes) -> None:
    """Writes one message."""
    stream.write(LENGTH.pack(len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Reads one message; empty at the end of the stream."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def frame_bytes(frame: Any) -> bytes:
    """Returns a frame as bytes of Arrow, its index left out, as a store would keep it."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.take(pa.array(range(table.num_rows)))  # a slice would keep the whole that it was cut from
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue()


def _answer(request: bytes) -> dict[str, Any]:
    """Loads what was stored, and transforms with that; fits anew, and transforms."""
    import cloudpickle
    import time_machine

    # The subject is pickled within the request: its classes can be imported only when the path is set.
    asked = cloudpickle.loads(request)
    sys.path[:] = asked["path"]
    # Its code is imported at another time too: what a module notes when it is imported is no constant.
    with time_machine.travel(CLOCK, tick=True):
        return _answer_at_another_time(asked)


def _answer_at_another_time(asked: dict[str, Any]) -> dict[str, Any]:
    import cloudpickle
    from threadpoolctl import threadpool_limits

    from ml_platform.artifacts.objects import dump_object, load_object

    subject, stored = cloudpickle.loads(asked["subject"]), asked["stored"]
    _name_classes_of_notebooks(subject.transformer)
    with threadpool_limits(asked["threads"]):
        found = {}
        if stored is not None:  # first, while no fit has left anything in this process
            found["loaded"] = subject.answer(load_object(stored, asked["trusted"], subject.name), subject.pool)
        fitted = subject.fit()
        if stored is not None:
            found["learnt"] = dump_object(fitted, asked["trusted"])
        return {**found, "anew": subject.answer(fitted, subject.pool)}


def _name_classes_of_notebooks(transformer: Any) -> None:
    """Puts classes of notebooks into `__main__`, where a stored object looks them up by name."""
    from ml_platform.artifacts.objects import own_classes

    for kind in own_classes(transformer):
        if kind.__module__ == "__main__":
            setattr(sys.modules["__main__"], kind.__qualname__, kind)


def _in_a_fork(request: bytes, sink: int) -> None:
    import cloudpickle

    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            # UTC+12:45, with summer time: no other zone is as unlike where people work.
            os.environ.update(TZ="Pacific/Chatham")
            time.tzset()
            answer = _answer(request)
    except BaseException as error:  # noqa: BLE001  (the one who asked tells it)
        answer = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    with os.fdopen(sink, "wb") as stream:
        stream.write(cloudpickle.dumps(answer))


def serve() -> None:
    """Answers requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts means the process that asks
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # The pipe of answers is kept under another number first.
    os.dup2(2, 1)  # what a transformer prints is no answer
    import cloudpickle
    import sklearn.base  # noqa: F401  (imported before the fork, for all of them)

    while request := receive(requests):
        if cloudpickle.loads(request)["stored"] is not None:
            from ml_platform.artifacts import objects

            # Before the fork, once: it imports all of scikit-learn, which each fork would do again.
            objects.load_skops()
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            _in_a_fork(request, sink)
            # Not sys.exit: the fork must not run the parent's cleanup, nor flush its buffers a second time.
            os._exit(0)
        os.close(sink)
        with os.fdopen(source, "rb") as stream:
            # To the end before waitpid: a child whose answer is larger than the pipe waits until somebody reads.
            answer = stream.read()
        _, status = os.waitpid(child, 0)
        died = {"error": f"the process died (status {status})", "trace": ""}
        send(answers, answer or cloudpickle.dumps(died))


if __name__ == "__main__":
    serve()
