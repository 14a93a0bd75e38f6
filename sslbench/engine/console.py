"""Standard streams that never end a run: what they refuse is dropped, and remembered."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
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
def steady_streams() -> Iterator[SteadyStream | None]:
    """Within the block standard output and error are steady; yields the former (None: closed from
    the start), whose `error` is final afterwards."""
    _fill_descriptors()
    out, err = sys.stdout, sys.stderr
    steady = None if out is None else SteadyStream(out)
    sys.stdout = steady
    sys.stderr = None if err is None else SteadyStream(err)
    try:
        yield steady
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = out, err


def _fill_descriptors() -> None:
    """Open /dev/null where a standard stream is closed (`2>&-`): the next file would get its
    number, and a checkpoint what a library prints."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
