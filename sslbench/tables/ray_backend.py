"""A grid on many machines: each job is a Ray task. Needs the `ray` extra and a shared file system
for run folders and data.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sslbench.engine.signals import stop_on_signals
from sslbench.errors import Interrupted, UserError
from sslbench.tables.jobs import PAUSE, RETRIES, Job, JobResult, Tell
from sslbench.tables.worker import attempt_text, prepare

SAVING_SECONDS = 60.0  # at most, for runs in progress when the grid is stopped


def run_on_ray(jobs: Sequence[Job], tell: Tell, *, threads: int | None, gpus: float) -> None:
    """Do all jobs on the cluster at RAY_ADDRESS, or on one that is started here.

    A task whose worker dies is tried once more; then it is told as failed, and the rest goes on.

    Args:
        threads: cores of a task; None is one.
        gpus: GPUs of a task; a share lets several tasks have one.
    Raises:
        UserError: ray is not installed.
        Interrupted: stopped by a signal.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--backend ray needs Ray: pip install 'sslbench[ray]'.") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    task = ray.remote(num_cpus=threads or 1, num_gpus=gpus, max_retries=RETRIES)(_attempt)
    pending = {task.remote(job.to_json(), threads or 1): job for job in jobs}
    with stop_on_signals() as stop:
        while pending and not stop:
            done, _ = ray.wait(list(pending), timeout=0.5)
            for reference in done:
                job = pending.pop(reference)
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    result = JobResult("failed", job.name, error=f"Its task died: {error}.")
                tell(result)
                if result.kind == "waiting":
                    time.sleep(PAUSE)
                    pending[task.remote(job.to_json(), threads or 1)] = job
    if stop:
        for reference in pending:
            ray.cancel(reference)  # as Ctrl-C would: a run in progress saves
        ray.wait(list(pending), num_returns=len(pending), timeout=SAVING_SECONDS)
        raise Interrupted("Stopped; run the same command again to continue.")


def _attempt(text: str, threads: int) -> JobResult:
    """One job in a Ray worker; returns how it ended."""
    prepare(threads)
    results: list[JobResult] = []
    attempt_text(text, results.append)
    return results[-1]
