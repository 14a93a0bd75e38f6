"""What trains and scores one job; as a program, a worker process of a grid."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.engine.console import SteadyStream, steady_streams
from sslbench.engine.signals import STOPPED, exit_on_signals
from sslbench.errors import DataWarning, Interrupted, InUse, UserError
from sslbench.tables.jobs import ERROR_FILE, Job, JobResult, Tell, fail

if TYPE_CHECKING:
    from sslbench.data import Dataset
    from sslbench.recipes.specs import Data


def prepare(threads: int | None) -> None:
    """Threads and the like, before anything is computed."""
    from sslbench.engine.hardware import prepare_process

    prepare_process(threads)


def execute(job: Job, tell: Tell) -> None:
    """Train (or find) the run, then score it as the job asks.

    Raises:
        UserError: what went wrong, in a sentence.
        Interrupted: stopped by a signal.
    """
    from sslbench.engine.hardware import pick_device
    from sslbench.engine.pretrain import Options
    from sslbench.evaluation.evaluate import evaluate
    from sslbench.evaluation.heldout import heldout_score
    from sslbench.evaluation.monitored import pretrain_monitored

    root = Path(job.root)
    dataset = _dataset(job.experiment.data, root)

    def progress(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        tell(JobResult("progress", job.name, step, steps, dict(metrics)))

    folder = pretrain_monitored(
        job.experiment,
        provenance=job.provenance,
        runs=Path(job.runs),
        root=root,
        options=Options(**job.options),
        progress=progress,
        dataset=dataset,
    )
    device = str(pick_device(job.options.get("device", "auto")))
    if job.heldout:
        heldout_score(folder, dataset, root=root, device=device)
    for data in dict.fromkeys(scoring.data for scoring in job.scorings):
        protocols = [scoring.protocol for scoring in job.scorings if scoring.data == data]
        own = dataset if data is None else None
        side = None if data is None else data.resolution
        evaluate(folder, protocols, data=data, resolution=side, root=root, device=device,
                 dataset=own, progress=progress)  # fmt: skip


def attempt_text(text: str, tell: Tell) -> bool:
    """`attempt` of a job that another process wrote."""
    try:
        job = Job.from_json(text)
    except UserError as error:
        tell(JobResult("failed", json.loads(text)["name"], error=str(error)))
        return True
    return attempt(job, tell)


def attempt(job: Job, tell: Tell) -> bool:
    """Train and score one job in this process; an error becomes a "failed" result, and a sentence
    (with the traceback, where it is a fault of ours) in the run folder's error.txt.

    Returns:
        False where another process has the run, which is told as "waiting".
    Raises:
        Interrupted: stopped by a signal; the run can be continued.
    """
    from sslbench.engine.mishaps import sentence

    tell(JobResult("start", job.name))
    try:
        execute(job, tell)
    except Interrupted:
        raise
    except InUse as error:
        told = f"{error.holder} has it; its result is taken when it is there"
        tell(JobResult("waiting", job.name, error=told))
        return False
    except UserError as error:
        fail(job, str(error), tell)
    except Exception as error:  # one broken run must not cost a night's grid
        text = sentence(error) or f"Unexpected {type(error).__name__}: {error}"
        fail(job, text, tell, details=traceback.format_exc())
    else:
        with contextlib.suppress(OSError):
            (job.path / ERROR_FILE).unlink(missing_ok=True)
        tell(JobResult("done", job.name))
    return True


@functools.lru_cache(maxsize=1)
def _dataset(data: Data, root: Path) -> Dataset:
    """The jobs of a grid share their data, mostly."""
    from sslbench.data import load

    return load(data, root=root)


def main(arguments: list[str]) -> int:
    """Serve jobs from standard input until it closes. Returns the exit code.

    Args:
        arguments: the number of threads, and the process that asks: when that ends, however it
            does, the job that is being done is saved and this process ends too.
    """
    with exit_on_signals(), steady_streams() as out:
        return _serve(arguments, out)


def _serve(arguments: list[str], out: SteadyStream) -> int:
    sys.stdout = sys.stderr  # whatever a library prints must not mix with the results

    def tell(result: JobResult) -> None:
        out.write(json.dumps(_plain(vars(result))) + "\n")
        out.flush()

    warnings.simplefilter("ignore", DataWarning)  # said when the grid was planned
    if len(arguments) > 1:
        threading.Thread(target=_follow, args=(int(arguments[1]),), daemon=True).start()
    prepare(int(arguments[0]) if arguments else None)
    try:
        for line in sys.stdin:
            attempt_text(line, tell)
    except (Interrupted, KeyboardInterrupt):
        return STOPPED
    return 0


def _follow(parent: int) -> None:
    """Stop this process, as a signal does, once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
