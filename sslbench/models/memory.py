"""Whether something fits this machine's memory, asked before it is allocated."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sslbench.errors import UserError


def require_memory(num_bytes: int, what: str, advice: str = "use a machine with more") -> None:
    """Raise UserError("WHAT needs ... of memory, ...") unless that many bytes are free."""
    free = _available()
    if num_bytes > free:
        raise UserError(
            f"{what} needs {_gigabytes(num_bytes)} of memory, and {_gigabytes(free)} are free; "
            f"{advice}."
        )


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes < 10**18 else "more than 10^9 GB"


def _available() -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
