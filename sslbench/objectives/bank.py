"""The memory bank: what the network last said about every training image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.distributed import gather
from sslbench.streams import normal, stream_key


class Bank(nn.Module):
    """One unit vector for each training image, the same on all processes; starts at random.

    It takes 4 M D bytes on every process and in every checkpoint: 0.66 GB for ImageNet's 1.28
    million images at D = 128.

    Args:
        num_images: M.
        width: D.
        momentum: share of the old row in the new one, 0 <= momentum < 1.
        seed: of the start.
    Source: Wu et al. 2018, arXiv:1805.01978, Sec. 3.1; the moving average is the authors' code's.
    """

    entries: Tensor

    def __init__(self, num_images: int, width: int, *, momentum: float, seed: int) -> None:
        super().__init__()
        self.momentum = momentum
        start = normal(stream_key(seed, "bank"), torch.arange(num_images), width)
        # The direction of a normal vector is uniform on the sphere.
        self.register_buffer("entries", F.normalize(start, dim=1))

    @torch.no_grad()
    def update(self, indices: Tensor, embeddings: Tensor) -> None:
        """Move the rows of all processes' images towards their embeddings.

        Call it after the backward pass: the loss reads the rows as they were.

        Args:
            indices: N int64, the images of this process, each at most once in the global batch.
            embeddings: N×D, of any length.
        """
        # Both of length 1 before they are mixed: how far a row turns depends on the angle alone.
        rows = gather(F.normalize(embeddings.float(), dim=1))
        places = gather(indices)
        old = self.entries.index_select(0, places)
        mixed = torch.lerp(rows, old, self.momentum)  # momentum of the old
        # Every process writes everyone's rows, so that the banks stay equal without a broadcast.
        self.entries.index_copy_(0, places, F.normalize(mixed, dim=1))
