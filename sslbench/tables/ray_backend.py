"""A grid on many machines: each job is a Ray task. Needs the `ray` extra and a shared file system
for run folders and data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sslbench
from sslbench.engine.folder import NUMERICS
from sslbench.engine.signals import stop_on_signals
from sslbench.errors import Interrupted, UserError
from sslbench.tables.jobs import PAUSE, RETRIES, Job, JobResult, Tell
from sslbench.tables.worker import attempt_text, prepare

SAVING_SECONDS = 60.0  # at most, for runs in progress when the grid is stopped
LOOK_SECONDS = 0.5  # between two looks at what the tasks tell


def run_on_ray(jobs: Sequence[Job], tell: Tell, *, threads: int | None, gpus: float) -> None:
    """Do all jobs on the cluster at RAY_ADDRESS, or on one that is started here.

    A task whose worker or node dies is tried once more, on any node, from the run's last
    checkpoint; then it is told as failed, and the rest goes on.

    Args:
        threads: cores of a task; None is one.
        gpus: GPUs of a task; a share lets several tasks have one.
    Raises:
        UserError: ray is not installed, no cluster answers, or no node has what a task needs.
        Interrupted: stopped by a signal.
    """
    try:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    except ImportError:
        raise UserError("--backend ray needs Ray: pip install 'sslbench[ray]'.") from None
    _join(ray)
    _require_room(ray.nodes(), threads or 1, gpus)
    # On this node: with any other it could die, and take what is told along.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    told = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    task = ray.remote(num_cpus=threads or 1, num_gpus=gpus, max_retries=RETRIES)(_attempt)

    def submitted(job: Job) -> Any:
        # A task starts in its node's folder, not in this one.
        runs, root = (str(Path(folder).absolute()) for folder in (job.runs, job.root))
        text = dataclasses.replace(job, runs=runs, root=root).to_json()
        return task.remote(text, threads or 1, versions(), told)

    pending = {submitted(job): job for job in jobs}
    try:
        with stop_on_signals() as stop:
            while pending and not stop:
                done, _ = ray.wait(list(pending), timeout=LOOK_SECONDS)
                for result in told.get_nowait_batch(told.qsize()):
                    tell(result)
                for reference in done:
                    job = pending.pop(reference)
                    try:
                        result = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        result = JobResult("failed", job.name, error=f"Its task died: {error}.")
                    tell(result)
                    if result.kind == "waiting":
                        time.sleep(PAUSE)
                        pending[submitted(job)] = job
        if pending:  # stopped before the end
            for reference in pending:
                ray.cancel(reference)  # as Ctrl-C would: a run in progress saves
            ray.wait(list(pending), num_returns=len(pending), timeout=SAVING_SECONDS)
            raise Interrupted("Stopped; run the same command again to continue.")
    finally:
        told.shutdown(force=True)


def versions() -> dict[str, str]:
    """What must agree on all nodes for their numbers to be those of one program."""
    return {
        "sslbench": sslbench.__version__,
        "numerics": str(NUMERICS),
        "torch": version("torch"),
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


def _join(ray: Any) -> None:
    """Be part of the cluster; raises UserError where none answers."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    host, _, port = (address or "").rpartition(":")
    try:
        if port.isdigit() and "/" not in host:  # Ray itself gives up after minutes
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError: all say no cluster
        if not address:
            raise UserError(f"No Ray cluster could be started here: {error}") from None
        raise UserError(
            f"No Ray cluster answers at RAY_ADDRESS {address} ({error}); start one with `ray start "
            "--head`, or unset RAY_ADDRESS for one of this machine alone."
        ) from None


def _require_room(nodes: Sequence[Mapping[str, Any]], cores: int, gpus: float) -> None:
    """Raise UserError where a task would wait for ever."""
    found = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(r.get("CPU", 0) >= cores and r.get("GPU", 0) >= gpus for r in found):
        most = max((r.get("CPU", 0) for r in found), default=0)
        cards = max((r.get("GPU", 0) for r in found), default=0)
        wanted = f"--threads {cores}" + (f" and GPUs: {gpus:g}" if gpus else "")
        raise UserError(
            f"A run asks for {wanted}, which no node of the Ray cluster has at once (at most "
            f"{most:g} cores, GPUs: {cards:g}); lower --threads, or choose --device cpu."
        )


def _attempt(text: str, threads: int, wanted: Mapping[str, str], told: Any) -> JobResult:
    """One job in a Ray worker; returns how it ended, and tells the rest as it comes."""
    ended: list[JobResult] = []

    def tell(result: JobResult) -> None:
        if result.kind not in ("start", "progress"):
            ended.append(result)
            return
        with contextlib.suppress(Exception):  # the node that listens is gone: nobody wants to know
            told.put_nowait(result)

    here = versions()
    if here != wanted:
        name = json.loads(text)["name"]
        unlike = ", ".join(f"{k} {here[k]} for {v}" for k, v in wanted.items() if here[k] != v)
        return JobResult(
            "failed", name, error=f"Node {platform.node()} has {unlike}; install the same."
        )
    prepare(threads)
    attempt_text(text, tell)
    return ended[-1]
