"""The memory of past keys that MoCo contrasts with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.batch import Moment
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
        # A tensor, so that a step waits for no device, and a resumed run goes on where it was.
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
        rows = gather(F.normalize(keys, dim=1) if self.normalize else keys)  # (world N)×D
        length = len(self.entries)
        if len(rows) == 0 or length % len(rows):
            raise UserError(
                f"the queue ({length}) must be a multiple of the batch ({len(rows)}); "
                "change objective.queue or batch_size."
            )
        # No wrap inside a batch: the pointer, too, is always a multiple of it.
        places = self.pointer + torch.arange(len(rows), device=rows.device)
        self.entries.index_copy_(0, places, rows)
        self.pointer.add_(len(rows)).remainder_(length)


class ViewQueues(nn.Module):
    """One queue of embeddings for each of the two global views, read once it is full (SwAV).

    Args:
        length: of each queue.
        width: D.
        start_epoch: embeddings of earlier epochs are not taken; they change too fast.
        seed: of the entries that are replaced before any is read.
    Source: Caron et al. 2020, arXiv:2006.09882, Sec. 3.1 and App. A.6.
    """

    def __init__(self, length: int, width: int, *, start_epoch: float, seed: int) -> None:
        super().__init__()
        self.length, self.start_epoch, self.count = length, start_epoch, 0
        # Flags of their own: compiled and replayed code must not see the count.
        self.full, self.taking = False, False
        self.first, self.second = (Queue(length, width, seed=seed) for _ in range(2))

    def entries(self) -> list[Tensor] | None:
        """Q×D unit vectors of each view, or None before the queues are full."""
        return [self.first.entries, self.second.entries] if self.full else None

    def before_step(self, moment: Moment) -> tuple[bool, bool]:
        """Whether the coming step reads the queues, and whether it fills them."""
        self.full, self.taking = self.count >= self.length, moment.epoch >= self.start_epoch
        if self.taking:
            self.count += moment.images
        return self.full, self.taking

    def enqueue(self, views: list[Tensor]) -> None:
        """Take the embeddings of all processes' images, as `Queue` does, from the first epoch on.

        Args:
            views: n×D of each global view.
        """
        if self.taking:
            for queue, rows in zip((self.first, self.second), views, strict=True):
                queue.enqueue(rows)

    def get_extra_state(self) -> int:
        """How many embeddings each queue has taken by the end of a step; kept with the buffers."""
        return self.count

    def set_extra_state(self, state: int) -> None:
        """Continue after so many."""
        self.count = state
        self.full = state >= self.length
