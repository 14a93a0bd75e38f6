"""The centre of a teacher's scores: what keeps one prototype from winning everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslbench.distributed import mean


class Centre(nn.Module):
    """A moving average of the mean score, H×K, the same on all processes; starts at zero.

    Args:
        heads, count: H, K.
        momentum: share of the old centre in the new one.
    Source: Caron et al. 2021, arXiv:2104.14294, Eq. 4.
    """

    value: Tensor

    def __init__(self, heads: int, count: int, *, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(heads, count))

    @torch.no_grad()
    def update(self, scores: Tensor) -> None:
        """Move towards the mean of n×H×K scores over all processes' rows.

        Call it after the backward pass: the loss reads the centre as it was.
        """
        # Processes hold equally many rows: the mean of their means is the mean over all rows.
        self.value.lerp_(mean(scores.float().mean(dim=0)), 1 - self.momentum)
