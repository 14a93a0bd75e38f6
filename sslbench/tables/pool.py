"""The jobs of a grid done: in this process, or over worker processes that may die without harm.

A worker is `python -m sslbench.tables.worker`: it reads one job a line on standard input and
writes what happens as lines of JSON on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

from sslbench.engine.signals import STOPPED, block_signals, stop_on_signals
from sslbench.errors import Interrupted
from sslbench.tables.jobs import PAUSE, RETRIES, Job, JobResult, Tell, fail
from sslbench.tables.worker import attempt, prepare

COMMAND = (sys.executable, "-m", "sslbench.tables.worker")


def run_jobs(jobs_to_do: Sequence[Job], *, jobs: int, threads: int | None, tell: Tell) -> None:
    """Do all jobs; a failed one is told and the rest goes on.

    A run that another process is training is put off until the others are done, and then taken as
    that process left it: several grids on one store share the work.

    Raises:
        Interrupted, KeyboardInterrupt: stopped by a signal.
    """
    if jobs > 1 and len(jobs_to_do) > 1:
        _Pool(min(jobs, len(jobs_to_do)), threads, tell).run(jobs_to_do)
        return
    prepare(threads)
    waiting = deque(jobs_to_do)
    while waiting:
        job = waiting.popleft()
        if not attempt(job, tell):
            waiting.append(job)
            time.sleep(PAUSE)


class _Pool:
    """Worker processes, each fed by a thread of this process."""

    def __init__(self, size: int, threads: int | None, tell: Tell) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.size = size
        self.threads = threads or max(1, (cores or 1) // size)
        self.tell, self.lock = tell, threading.Lock()
        self.waiting: queue.SimpleQueue[tuple[Job, int]] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self.workers: set[subprocess.Popen[str]] = set()
        self.faults: list[BaseException] = []  # of the feeders

    def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs. Raises Interrupted when a signal stopped this process or a worker."""
        for job in jobs:
            self.waiting.put((job, RETRIES))
        feeders = [threading.Thread(target=self._feed, daemon=True) for _ in range(self.size)]
        asked = False
        with stop_on_signals() as stop:
            for feeder in feeders:
                feeder.start()
            while any(feeder.is_alive() for feeder in feeders):
                for feeder in feeders:
                    feeder.join(timeout=0.2)
                if stop and not asked:
                    asked = True
                    self._interrupt()
        if self.faults:
            raise self.faults[0]
        if self.stopped.is_set():
            who = f"Stopped by {stop.signal.name}" if stop.signal else "A worker was stopped"
            raise Interrupted(
                f"{who}; runs in progress were saved. Run the same command again to continue."
            )

    def _interrupt(self) -> None:
        """Ask every worker to save and stop (from a terminal, Ctrl-C has asked them already)."""
        self.stopped.set()
        for worker in list(self.workers):
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)

    def _feed(self) -> None:
        block_signals()  # a worker starts with them held back, until it can answer
        worker: subprocess.Popen[str] | None = None
        try:
            while not self.stopped.is_set():
                try:
                    job, retries = self.waiting.get_nowait()
                except queue.Empty:
                    break
                if worker is None or worker.poll() is not None:
                    worker = self._start()
                end = self._hand(worker, job)
                if end is None:
                    self._after_death(_ended(worker), job, retries)
                    worker = None
                elif end == "waiting":
                    self.waiting.put((job, retries))
                    self.stopped.wait(PAUSE)
        except BaseException as error:
            self.faults.append(error)
            self._interrupt()
        finally:
            if worker is not None:
                _ended(worker)

    def _start(self) -> subprocess.Popen[str]:
        variables = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        worker = subprocess.Popen(
            [*COMMAND, str(self.threads), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )
        self.workers.add(worker)
        if self.stopped.is_set():  # after the others were asked
            worker.send_signal(signal.SIGTERM)
        return worker

    def _hand(self, worker: subprocess.Popen[str], job: Job) -> str | None:
        """Give the worker a job and pass on what it says; how the job ended: done, failed or
        waiting. None when the worker died on the way."""
        assert worker.stdin is not None and worker.stdout is not None
        try:
            worker.stdin.write(job.to_json() + "\n")
            worker.stdin.flush()
        except OSError:
            return None
        for line in worker.stdout:
            try:
                result = JobResult(**json.loads(line))
            except (ValueError, TypeError):
                continue  # something else printed by a library
            with self.lock:
                self.tell(result)
            if result.kind in ("done", "failed", "waiting"):
                return result.kind
        return None

    def _after_death(self, code: int, job: Job, retries: int) -> None:
        if self.stopped.is_set() or code == STOPPED:
            self.stopped.set()
            return
        if retries > 0:
            self.waiting.put((job, retries - 1))
            return
        error = (
            f"Its process died twice (exit code {code}; -9 is usually memory); try fewer --jobs."
        )
        with self.lock:
            fail(job, error, self.tell)


def _ended(worker: subprocess.Popen[str]) -> int:
    """Close a worker's input, which ends one that still lives; its exit code."""
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a broken pipe of a dead worker
                pipe.close()
    return worker.wait()
