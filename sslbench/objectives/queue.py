"""The memory of past keys that MoCo contrasts with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.distributed import gather
from sslbench.errors import UserError
from sslbench.streams import normal, stream_key


class Queue(nn.Module):
    """K keys, first in first out, the same on all processes; starts as random unit vectors.

    Args:
        length: K.
        width: D.
        seed: of the first entries.
        normalize: keys are scaled to unit length as they enter; as `InfoNCE.normalize`.
    Source: He et al. 2019, arXiv:1911.05722, Sec. 3.2 and Algorithm 1.
    """

    entries: Tensor
    pointer: Tensor

    def __init__(self, length: int, width: int, *, seed: int, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize
        start = normal(stream_key(seed, "queue"), torch.arange(length), width)
        self.register_buffer("entries", F.normalize(start, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replace the oldest keys by those of all processes, in rank order.

        Call it after the backward pass: the loss holds the keys it was computed with.

        Args:
            keys: N×D of this process.
        Raises:
            UserError: the global N does not divide the length.
        """
        keys = keys.float()
        rows = gather(F.normalize(keys, dim=1) if self.normalize else keys)
        length = len(self.entries)
        if len(rows) == 0 or length % len(rows):
            raise UserError(
                f"the queue ({length}) must be a multiple of the batch ({len(rows)}); "
                "change objective.queue or batch_size."
            )
        places = self.pointer + torch.arange(len(rows), device=rows.device)
        self.entries.index_copy_(0, places, rows)
        self.pointer.add_(len(rows)).remainder_(length)
