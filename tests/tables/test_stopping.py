"""Grids that are stopped or killed, and grids that meet on one store: in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.errors import InUse
from sslbench.tables.jobs import Job, Scoring
from tests.tiny import tiny

WORKER = """
import os, pathlib, sys, time
from sslbench.tables import worker
from sslbench.engine.signals import stop_on_signals
from sslbench.errors import Interrupted
def execute(job, tell):
    mark = pathlib.Path(job.runs) / job.name
    mark.write_text(str(os.getpid()))
    with stop_on_signals() as stop:
        while not stop: time.sleep(0.02)
    for step in range(3): tell(worker.JobResult("progress", job.name, step, 9, {}))
    mark.write_text("saved")
    raise Interrupted("stopped")
worker.prepare, worker.execute = (lambda threads: None), execute
sys.exit(worker.main(sys.argv[1:]))
"""

GRID = f"""
import pathlib, sys
from sslbench.errors import Interrupted
from sslbench.tables import pool
from tests.tables.test_stopping import job
pool.COMMAND = (sys.executable, "-c", {WORKER!r})
folder = pathlib.Path(sys.argv[1])
try:
    pool.run_jobs([job(folder, n) for n in "abc"], jobs=2, threads=1, tell=lambda _: None)
except Interrupted as error:
    print(error)
"""


def job(folder: Path, name: str) -> Job:
    return Job(name, tiny("byol"), {}, (Scoring(protocol="knn.v1"),), str(folder), str(folder))


def until(condition, *, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def marks(folder: Path) -> list[str]:
    return [text for path in folder.glob("?") if (text := path.read_text())]


@pytest.fixture
def grid(tmp_path: Path):
    """A grid with two workers, each at a run that lasts until it is stopped."""
    command = [sys.executable, "-c", GRID, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(Path.cwd())})  # fmt: skip
    try:
        until(lambda: len(marks(tmp_path)) == 2)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_grid_that_is_stopped_takes_its_workers_along(grid, number, tmp_path: Path) -> None:
    pids = [int(pid) for pid in marks(tmp_path)]
    grid.send_signal(number)
    out, err = grid.communicate(timeout=30)
    assert out.startswith(f"Stopped by {number.name}; runs in progress were saved.")
    assert err == ""
    assert marks(tmp_path) == ["saved", "saved"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_workers_of_a_killed_grid_save_and_end_without_a_word(grid, tmp_path: Path) -> None:
    grid.kill()
    assert grid.communicate(timeout=30) == ("", "")  # returns when no worker has its stderr
    assert marks(tmp_path) == ["saved", "saved"]


def test_who_holds_a_folder_is_named_and_can_be_waited_for(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom sslbench.engine.folder import RunFolder\n"
        f"with RunFolder(Path({str(tmp_path)!r})).lock():\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdout is not None and other.stdout.readline()
    folder = RunFolder(tmp_path)
    with pytest.raises(InUse, match=f"in use by process {other.pid}"), folder.lock():
        pass
    assert other.stdin is not None
    other.stdin.close()
    with folder.lock(wait=True):
        assert other.wait(timeout=30) == 0
    other.stdout.close()
