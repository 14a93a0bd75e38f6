"""What a process does that is killed, without the seconds that a new Python takes to begin."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import torch

from sslbench.engine import fit

SECONDS = 300


def killed(work: Callable[[], Any]) -> bool:
    """Whether work, done by a copy of this process in which fits are saved at every step, ended by
    SIGKILL."""

    def alone() -> None:
        torch.set_num_threads(1)  # threads of the parent are not there
        fit.CHECKPOINT_SECONDS = 0.0
        work()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        child = multiprocessing.get_context("fork").Process(target=alone)
        child.start()
    child.join(SECONDS)
    return child.exitcode == -signal.SIGKILL


def kill_at(moment: int) -> Callable[..., None]:
    """A progress callback that kills its process at a step."""

    def progress(step: int, *_: object) -> None:
        if step == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress
