"""Run a function on several gloo processes of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_processes(
    function: Callable[..., Any], *arguments: Any, folder: Path, world_size: int = 2
) -> list[Any]:
    """`function(*arguments)` on each process, which finds itself by `sslbench.distributed.rank`.

    Args:
        function: of a module's top level.
        folder: empty; holds the meeting point and the results, made of tensors and containers.
    Returns:
        The results, by rank.
    """
    mp.spawn(_child, args=(function, arguments, str(folder), world_size), nprocs=world_size)
    return [torch.load(folder / f"result{r}.pt") for r in range(world_size)]


def _child(
    rank: int, function: Callable[..., Any], arguments: Any, folder: str, world_size: int
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size
    )
    try:
        torch.save(function(*arguments), Path(folder) / f"result{rank}.pt")
    finally:
        dist.destroy_process_group()
