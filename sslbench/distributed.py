"""Processes: what the losses, batch norm and the engine need of torch.distributed.

Everything here is the identity on one process. Rows are gathered in rank order, so that process
r holds rows r*n to (r+1)*n of the global batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather as _all_gather_with_gradient

T = TypeVar("T")
_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Within the block this process is the only one: nothing is sent, nobody is waited for."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def rank() -> int:
    """This process's number, 0 without a process group."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """The number of processes, 1 without a process group."""
    return dist.get_world_size() if _grouped() else 1


def _grouped() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()


def gather_with_gradient(x: Tensor) -> Tensor:
    """n×... on each process to (world n)×...; the gradient of every process's loss flows back.

    The backward pass sums over processes. With DDP's average of gradients and a loss that is a
    mean over local rows, that is the gradient of the mean over all rows.
    """
    if world_size() == 1:
        return x
    # Backends send memory as it lies, hence contiguous.
    return torch.cat(_all_gather_with_gradient(x.contiguous()))


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """n×... on each process to (world n)×..., without gradient (keys, monitors)."""
    if world_size() == 1:
        return x
    # Of this process's shape: all hold equally many rows, since batch_size divides over them.
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def sum_with_gradient(x: Tensor) -> Tensor:
    """Sum over processes; the gradient is summed back (cross-correlation, batch statistics)."""
    if world_size() == 1:
        return x
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x)


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """Mean over processes, without gradient, for logging."""
    if world_size() == 1:
        return x
    x = x.clone()  # all_reduce overwrites
    dist.all_reduce(x)
    return x / world_size()


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether a flag is set on any process; one alone waits for no device."""
    return flag if world_size() == 1 else bool(mean(torch.tensor(float(flag), device=device)) > 0)


def agree(value: T) -> T:
    """The first process's value on all of them (a choice that each would make for itself)."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


@torch.no_grad()
def broadcast(x: Tensor) -> None:
    """Overwrite x, contiguous, by the first process's."""
    if world_size() > 1:
        dist.broadcast(x, src=0)


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()
