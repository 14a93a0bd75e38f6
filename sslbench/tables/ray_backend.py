"""A grid on many machines: each job is a Ray task. Needs the `ray` extra and a shared file system
for run folders and data.
"""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.errors import UserError
from sslbench.tables.workers import RETRIES, Job, JobResult, Tell, attempt


def run_on_ray(jobs: Sequence[Job], tell: Tell, *, threads: int | None, gpus: float) -> None:
    """Do all jobs on the cluster at RAY_ADDRESS, or on one that is started here.

    A task whose worker dies is tried once more; then it is told as failed, and the rest goes on.

    Args:
        threads: cores of a task; None is one.
        gpus: GPUs of a task; a share lets several tasks have one.
    Raises:
        UserError: ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--backend ray needs Ray: pip install 'sslbench[ray]'.") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    task = ray.remote(num_cpus=threads or 1, num_gpus=gpus, max_retries=RETRIES)(_attempt)
    pending = {task.remote(job.to_json(), threads or 1): job for job in jobs}
    while pending:
        done, _ = ray.wait(list(pending))
        job = pending.pop(done[0])
        try:
            tell(ray.get(done[0]))
        except ray.exceptions.RayError as error:
            tell(JobResult("failed", job.name, error=f"Its task died: {error}."))


def _attempt(text: str, threads: int) -> JobResult:
    """One job in a Ray worker; returns how it ended."""
    from sslbench.tables.worker import prepare

    prepare(threads)
    results: list[JobResult] = []
    attempt(Job.from_json(text), results.append)
    return results[-1]
