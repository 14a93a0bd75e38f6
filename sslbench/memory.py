"""How much memory there is, so that an absurd size is refused before anything is allocated."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sslbench.errors import UserError

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # of this process, where it runs in a container


def require_memory(needed: int, *, what: str, remedy: str) -> None:
    """Return when `needed` bytes may be allocated, as far as this system tells.

    Args:
        needed: an estimate of the peak.
        what: begins the sentence, as in "8,000 images of 32 pixels".
        remedy: ends it: what the user can do.
    Raises:
        UserError: there is less.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise UserError(f"{what}: about {_size(needed)} of memory needed, {_size(free)} free; "
                        f"{remedy}.")  # fmt: skip


def available_memory() -> int | None:
    """Bytes that new allocations can have without swapping: of the machine, and of this process's
    control group, whichever is less; None where the system does not tell."""
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    with contextlib.suppress(OSError, ValueError, AttributeError):  # macOS: all that is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_group() -> int | None:
    """What a container's limit leaves; its file cache counts as free."""
    with contextlib.suppress(OSError, ValueError):
        limit = int((_GROUP / "memory.max").read_text())  # "max" where there is none
        used = int((_GROUP / "memory.current").read_text())
        lines = (_GROUP / "memory.stat").read_text().splitlines()
        cache = sum(int(x.split()[1]) for x in lines if x.split()[:1] == ["inactive_file"])
        return max(0, limit - used + cache)
    return None


def _size(count: int) -> str:
    """Bytes in words of people."""
    for unit, name in ((10**12, "TB"), (10**9, "GB")):
        if count >= unit:
            return (
                f"{count / unit:,.0f} {name}"
                if count >= 10 * unit
                else f"{count / unit:.1f} {name}"
            )
    return f"{count / 10**6:,.0f} MB"
