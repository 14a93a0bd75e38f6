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
        UserError: more processes on this machine than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    kind = pick_device(device).type
    if kind == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise UserError(
                f"Process {local} has no GPU of its own ({torch.cuda.device_count()} here); start "
                "as many processes as there are GPUs."
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()
