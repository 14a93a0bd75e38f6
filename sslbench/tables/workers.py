"""Jobs of a grid: in this process, or over worker processes that may die without harm.

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
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sslbench.errors import Interrupted, UserError
from sslbench.files import write_atomically
from sslbench.recipes.recipe import Experiment

RETRIES = 1  # of a job whose worker died
ERROR_FILE = "error.txt"  # in a run folder: why its last attempt failed
INTERRUPTED = 130  # exit code of a worker that was stopped by a signal
COMMAND = (sys.executable, "-m", "sslbench.tables.worker")


@dataclass(frozen=True)
class Job:
    """One run to train and score. `options`: device, precision, compile, monitor_points."""

    name: str
    experiment: Experiment
    provenance: dict[str, str]
    protocols: tuple[str, ...]
    runs: str
    root: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.runs) / self.name

    def to_json(self) -> str:
        data = {**vars(self), "experiment": self.experiment.to_dict()}
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> Job:
        data = json.loads(text)
        data["experiment"] = Experiment.from_dict(data["experiment"])
        data["protocols"] = tuple(data["protocols"])
        return cls(**data)


@dataclass(frozen=True)
class JobResult:
    """Something that happened to a job: it began, reached a log point, ended or failed."""

    kind: Literal["start", "progress", "done", "failed"]
    name: str
    step: int = 0
    steps: int = 0
    metrics: Mapping[str, float] | None = None
    error: str = ""


Tell = Callable[[JobResult], None]


def run_jobs(jobs_to_do: Sequence[Job], *, jobs: int, threads: int | None, tell: Tell) -> None:
    """Do all jobs; a failed one is told and the rest goes on.

    Raises:
        Interrupted, KeyboardInterrupt: stopped by a signal.
    """
    if jobs == 1 or len(jobs_to_do) <= 1:
        from sslbench.tables.worker import prepare

        prepare(threads)
        for job in jobs_to_do:
            attempt(job, tell)
        return
    _Pool(min(jobs, len(jobs_to_do)), threads, tell).run(jobs_to_do)


def attempt(job: Job, tell: Tell) -> None:
    """Train and score one job in this process; an error becomes a "failed" result, and a sentence
    (with the traceback, where it is a fault of ours) in the run folder's error.txt.

    Raises:
        Interrupted: stopped by a signal; the run can be continued.
    """
    from sslbench.tables.worker import execute

    tell(JobResult("start", job.name))
    try:
        execute(job, tell)
    except Interrupted:
        raise
    except UserError as error:
        _fail(job, str(error), tell)
    except Exception as error:  # one broken run must not cost a night's grid
        sentence = f"Unexpected {type(error).__name__}: {error}"
        _fail(job, sentence, tell, details=traceback.format_exc())
    else:
        (job.path / ERROR_FILE).unlink(missing_ok=True)
        tell(JobResult("done", job.name))


def _fail(job: Job, sentence: str, tell: Tell, *, details: str = "") -> None:
    write_atomically(job.path / ERROR_FILE, f"{sentence}\n{details}")
    tell(JobResult("failed", job.name, error=sentence))


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

    def run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.waiting.put((job, RETRIES))
        feeders = [threading.Thread(target=self._feed, daemon=True) for _ in range(self.size)]
        for feeder in feeders:
            feeder.start()
        try:
            while any(feeder.is_alive() for feeder in feeders):
                for feeder in feeders:
                    feeder.join(timeout=0.2)
        except KeyboardInterrupt:
            self.stopped.set()
            self._interrupt()
            for feeder in feeders:
                feeder.join()
            raise Interrupted(
                "Stopped; runs in progress were saved. Run the same command again to continue."
            ) from None
        if self.stopped.is_set():
            raise Interrupted(
                "A worker was stopped by a signal; run the same command again to continue."
            )

    def _interrupt(self) -> None:
        """Ask every worker to save and stop (from a terminal, Ctrl-C has asked them already)."""
        for worker in list(self.workers):
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)

    def _feed(self) -> None:
        worker: subprocess.Popen[str] | None = None
        while not self.stopped.is_set():
            try:
                job, retries = self.waiting.get_nowait()
            except queue.Empty:
                break
            if worker is None or worker.poll() is not None:
                worker = self._start()
            if not self._hand(worker, job):
                self._after_death(_ended(worker), job, retries)
                worker = None
        if worker is not None:
            _ended(worker)

    def _start(self) -> subprocess.Popen[str]:
        variables = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        worker = subprocess.Popen(
            [*COMMAND, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )
        self.workers.add(worker)
        return worker

    def _hand(self, worker: subprocess.Popen[str], job: Job) -> bool:
        """Give the worker a job and pass on what it says; False when it died on the way."""
        assert worker.stdin is not None and worker.stdout is not None
        try:
            worker.stdin.write(job.to_json() + "\n")
            worker.stdin.flush()
        except OSError:
            return False
        for line in worker.stdout:
            try:
                result = JobResult(**json.loads(line))
            except (ValueError, TypeError):
                continue  # something else printed by a library
            with self.lock:
                self.tell(result)
            if result.kind in ("done", "failed"):
                return True
        return False

    def _after_death(self, code: int, job: Job, retries: int) -> None:
        if self.stopped.is_set() or code == INTERRUPTED:
            self.stopped.set()
            return
        if retries > 0:
            self.waiting.put((job, retries - 1))
            return
        error = (
            f"Its process died twice (exit code {code}; -9 is usually memory); try fewer --jobs."
        )
        with self.lock:
            _fail(job, error, self.tell)


def _ended(worker: subprocess.Popen[str]) -> int:
    """Close a worker's input, which ends one that still lives; its exit code."""
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a broken pipe of a dead worker
                pipe.close()
    return worker.wait()
