"""Which rows of a batch are rendered together on a CPU, and which steps they need.

A CPU is fast while pixels stay in its cache, and need not compute what no row asks for. The draws
lie on the host there, so they may be looked at; on another device to look would be to wait.
"""

from __future__ import annotations

import torch
from torch import Tensor

CACHED_FLOATS = 2**19  # of a chunk's views, for each thread: 2 MiB


def needed(chosen: Tensor) -> bool:
    """Whether a step that changes the `chosen` rows alone is to be done: elsewhere than on a CPU,
    and in a graph, which is one for all draws, always."""
    if torch.compiler.is_compiling() or chosen.device.type != "cpu":
        return True
    return bool(chosen.any())


def equal_chunks(order: Tensor, *, floats: int) -> list[Tensor]:
    """The row numbers `order` in chunks of one length, for which code is compiled once: where they
    do not come out even, the last one begins before the end of the one before.

    Args:
        order: N int64.
        floats: of one row's pixels.
    """
    per_chunk = max(1, torch.get_num_threads() * CACHED_FLOATS // floats)
    count = len(order)
    length = -(-count // -(-count // per_chunk))
    return [order[min(start, count - length) :][:length] for start in range(0, count, length)]
