"""The processes that tests of distributed code share: a failure is shown and harms no next test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslbench import distributed
from tests.reference.processes import run_processes


def rank_and_process() -> tuple[int, int]:
    return distributed.rank(), os.getpid()


def fails_on_the_second() -> None:
    if distributed.rank() == 1:
        raise ValueError("this one")
    distributed.barrier()  # the first waits for it for ever


def test_a_failure_is_shown_and_the_next_call_has_new_processes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first = run_processes(rank_and_process, folder=folders[0])
    with pytest.raises(RuntimeError, match=r"(?s)failed on process 1.*ValueError: this one"):
        run_processes(fails_on_the_second, folder=folders[1])
    after = run_processes(rank_and_process, folder=folders[2])
    assert [rank for rank, _ in first] == [rank for rank, _ in after] == [0, 1]
    assert {process for _, process in first}.isdisjoint(process for _, process in after)
