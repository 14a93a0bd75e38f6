"""The log of a run: metrics.jsonl, one object per log point, and TensorBoard events beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sslbench.engine.folder import RunFolder
from sslbench.files import user_io


class MetricsLog:
    """Appends log points. A resumed run logs the steps after its checkpoint again, with the same
    values; readers keep the later line of a step.

    Args:
        folder: the run's folder.
        tensorboard: also write event files (its import takes a second or two).
    """

    def __init__(self, folder: RunFolder, *, tensorboard: bool) -> None:
        self._path = folder.metrics_path
        with user_io(self._path):
            _mend_end(self._path)
            self._file = self._path.open("a")
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder.path / "tensorboard"))

    def write(self, point: Mapping[str, float]) -> None:
        """One log point; `step` and `epoch` are among its keys. Raises UserError (disk full)."""
        with user_io(self._path):
            self._file.write(json.dumps(dict(point)) + "\n")
            self._file.flush()
        if self._writer is not None:
            for name, value in point.items():
                if name not in ("step", "epoch"):
                    self._writer.add_scalar(name, value, int(point["step"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()


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
            json.loads(whole[start:])
        except ValueError:  # its step comes after the checkpoint and is logged again
            file.truncate(start)
        else:
            file.write(b"\n")
