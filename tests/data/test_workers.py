"""The memory that decoded batches are put in."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data.streaming.workers import VARIABLE, Part, explained, in_order
from sslbench.engine.hardware import prepare_process
from sslbench.errors import UserError

BATCH, SIDE = 256, 64  # 3 MB each
SETTLED, BATCHES = 20, 60


class Blank:
    """A source whose images take no time."""

    images = torch.zeros(BATCH, 3, SIDE, SIDE, dtype=torch.uint8)

    def decode(self, rows: np.ndarray) -> Part:
        """Of any rows."""
        return Part(self.images[: len(rows)])


def anonymous() -> int:
    """Bytes of this process that no file has."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("Anonymous:")).split()[1])


def grown() -> int:
    """Bytes that reading so many batches adds."""
    prepare_process(1)  # the allocator as the engine sets it: for a process of its own
    kept, before = [], 0
    for i, _ in enumerate(in_order(Blank(), (np.arange(BATCH) for _ in range(BATCHES)), side=SIDE)):
        kept += [torch.zeros(10**k) for k in range(4)]  # as whoever trains keeps something
        before = anonymous() if i == SETTLED else before
    return anonymous() - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_batch_takes_the_place_of_one_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(grown).result() < 20 * 2**20  # of 120 MB


@pytest.mark.parametrize(
    ("how", "hint"), [("killed by signal: Killed. ", True), ("exited unexpectedly", True),
                      ("killed by signal: Segmentation fault. ", False)],
)  # fmt: skip
def test_less_memory_is_advised_only_where_it_may_have_run_out(how: str, hint: bool) -> None:
    with pytest.raises(UserError, match=r"kept: run the same command") as caught, explained():
        raise RuntimeError(f"DataLoader worker (pid 12) is {how}")
    assert ("fewer of them help" in str(caught.value)) is hint
