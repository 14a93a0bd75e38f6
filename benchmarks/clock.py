"""Wall clock, CPU seconds of a process with its living children, and peak memory. No torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """Within the block: wall seconds, and CPU seconds of this process and its children."""

    def __enter__(self) -> Clock:
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = _cpu_seconds() - self._cpu

    def result(self) -> dict[str, float]:
        return {"wall": self.wall, "cpu": self.cpu}


class PeakMemory:
    """Within the block: this process's peak resident memory, and how far it rose. Linux."""

    def __enter__(self) -> PeakMemory:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = _status("VmHWM")
        self.rise = self.peak - self._before

    def result(self) -> dict[str, float]:
        return {"peak_bytes": self.peak, "rise_bytes": self.rise}


def _cpu_seconds() -> float:
    """User and system time of this process and its living children (data loader workers)."""
    here = os.getpid()
    children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
    return sum(_process_seconds(pid) for pid in [str(here), *children])


def _process_seconds(pid: str) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024.0 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {name}")
