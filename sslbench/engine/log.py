"""The log of a run: metrics.jsonl, one object per log point, and TensorBoard events beside it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.files import user_io


class MetricsLog:
    """Appends log points. A resumed run logs the steps after its checkpoint again, with the same
    values; readers keep the later line of a step.

    Args:
        folder: the run's folder.
        tensorboard: also write event files (its import takes a second or two).
    Raises:
        UserError: also from every method: the disk is full, or the folder cannot be written.
    """

    def __init__(self, folder: RunFolder, *, tensorboard: bool) -> None:
        self._path = folder.metrics_path
        with user_io(self._path):
            _mend_end(self._path)
            self._file = self._path.open("a")
        self._events = _Events(folder.path / "tensorboard") if tensorboard else None

    def write(self, point: Mapping[str, float]) -> None:
        """One log point; `step` and `epoch` are among its keys."""
        with user_io(self._path):
            self._file.write(json.dumps(dict(point)) + "\n")
            self._file.flush()
        if self._events is not None:
            self._events.write(point)

    def close(self) -> None:
        """Close the files."""
        with user_io(self._path), contextlib.ExitStack() as stack:
            if self._events is not None:
                stack.callback(self._events.close)
            stack.callback(self._file.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(UserError):  # the first error is the one to be told
            self.close()


class _Events:
    """One event file of TensorBoard's.

    Written here and now: the thread of its own writer prints a traceback where the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        with user_io(self._path):
            folder.mkdir(exist_ok=True)
            self._file = self._path.open("wb")
            self._records = RecordWriter(self._file)
            version = Event(wall_time=time.time(), file_version="brain.Event:2")
            self._records.write(version.SerializeToString())

    def write(self, point: Mapping[str, float]) -> None:
        """A log point's values, each as a scalar of its name."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        shown = {name: value for name, value in point.items() if name not in ("step", "epoch")}
        values = [Summary.Value(tag=name, simple_value=value) for name, value in shown.items()]
        event = Event(wall_time=time.time(), step=int(point["step"]), summary=Summary(value=values))
        with user_io(self._path):
            self._records.write(event.SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _mend_end(path: Path) -> None:
    """End the last line of a log that a killed process left open, or take away what it is torn
    to: the next record must not become a part of it."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        whole = file.read()
        start = whole.rfind(b"\n") + 1
        if start == len(whole):
            return
        try:
            torn = not isinstance(json.loads(whole[start:]), dict)
        except (ValueError, RecursionError):
            torn = True
        if torn:  # its step comes after the checkpoint and is logged again
            file.truncate(start)
        else:
            file.write(b"\n")
