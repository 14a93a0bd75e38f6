"""The lock of a run folder: one living process at a time. Imports no torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sslbench.errors import InUse
from sslbench.files import user_io

_HELD: set[IO[str]] = set()


@contextlib.contextmanager
def held(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder as long as this process lives; processes forked meanwhile do not hold it.

    Raises:
        InUse: another living process holds it, and `wait` is false.
        UserError: nothing can be written there.
    """
    import fcntl

    with user_io(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle: IO[str] = (folder / ".lock").open("a+")
    _HELD.add(handle)
    try:
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise InUse(folder, _holder(handle)) from None
            with contextlib.suppress(OSError):  # its name is a courtesy, which a full disk denies
                handle.truncate(0)
                os.write(handle.fileno(), str(os.getpid()).encode())  # no buffer to be closed
            yield
    finally:
        _HELD.discard(handle)


def _let_go() -> None:
    """In a forked process: the lock would live as long as it, which may outlive its parent."""
    for handle in _HELD:
        handle.close()
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _holder(lock: IO[str]) -> str:
    """Who holds a lock, in words."""
    with contextlib.suppress(OSError, ValueError):
        lock.seek(0)
        return f"process {int(lock.read(20))}"
    return "another process"
