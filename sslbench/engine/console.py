"""Standard streams that never end a run: what they refuse is dropped, and remembered."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


class SteadyStream(io.TextIOBase):
    """Text to a stream that may be closed (`| head -1`), full (`> /dev/full`) or ASCII only.

    From the first error on, everything written through the same file descriptor goes nowhere: also
    what lies in the stream's buffer, and what a library or a worker process prints. It has no
    `buffer`: click would write past this object.

    Attributes:
        error: the first error, or None.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        """Write what can be written; the length of all of it."""
        with self._remembering():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        with self._remembering():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        return self._stream.fileno()

    @contextlib.contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            with contextlib.suppress(OSError):  # a test's stream has no descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def steady_streams() -> Iterator[SteadyStream]:
    """Within the block standard output and error are steady, also where they were closed from the
    start; yields the former, whose `error` is final once it is flushed."""
    _fill_descriptors()
    old = sys.stdout, sys.stderr
    with Path(os.devnull).open(
        "w", encoding="utf-8"
    ) as nowhere:  # print(file=None) is standard output
        out, err = (SteadyStream(nowhere if s is None else s) for s in old)
        sys.stdout, sys.stderr = out, err
        try:
            yield out
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = old


def _fill_descriptors() -> None:
    """Open /dev/null where a standard stream is closed (`2>&-`): the next file would get its
    number, and a checkpoint what a library prints."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
