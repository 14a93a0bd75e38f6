"""Processes started by torchrun: the process group and each process's device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from sslbench.engine.hardware import pick_device
from sslbench.errors import UserError


@contextlib.contextmanager
def process_group(device: str) -> Iterator[str]:
    """Within the block the process group of torchrun stands; yields this process's device name.

    Without torchrun (no WORLD_SIZE, or 1) it yields `device` unchanged.

    Raises:
        UserError: more processes on this machine than GPUs, variables that torchrun does not set
            so, or processes that do not find each other.
    """
    if _variable("WORLD_SIZE", 1) == 1:
        yield device
        return
    kind = pick_device(device).type
    if kind == "cuda":
        local = _variable("LOCAL_RANK", 0)
        if local >= torch.cuda.device_count():
            raise UserError(
                f"Process {local} has no GPU of its own ({torch.cuda.device_count()} here); start "
                "as many processes as there are GPUs."
            )
        torch.cuda.set_device(local)  # before NCCL, which uses the current device
        device = f"cuda:{local}"
    try:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:  # a variable is missing; nobody answers
        raise UserError(
            f"The processes cannot be joined ({' '.join(str(error).split())}); start them with "
            "torchrun, or unset WORLD_SIZE."
        ) from error
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _variable(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise UserError(
            f"{name}={text} in the environment is not a whole number; unset it, or start with "
            "torchrun."
        ) from None
