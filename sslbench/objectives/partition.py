"""The normalising constant of a softmax over the memory bank, which NPID estimates once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sslbench.distributed import gather


class Partition(nn.Module):
    """Z of P(i|v) = exp(s_i / temperature) / Z: unknown, then fixed by the first batch.

    Held as a buffer, so that a resumed run goes on with it; the same on all processes.

    Source: Wu et al. 2018, arXiv:1805.01978, Eq. 8.
    """

    log_value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_value", torch.tensor(math.inf))  # not known yet

    @torch.no_grad()
    def from_first(self, noise: Tensor, *, num_images: int) -> Tensor:
        """log Z, scalar: the first call's estimate M * mean(exp(noise)).

        Args:
            noise: N×K logits of rows drawn uniformly from the bank; all processes' count.
            num_images: M.
        """
        local = torch.logsumexp(noise, dim=(0, 1)) - math.log(noise.numel())
        parts = gather(local[None])
        estimate = torch.logsumexp(parts, dim=0) + math.log(num_images / len(parts))
        # On the device, without a branch that would wait for it.
        known = torch.isfinite(self.log_value)
        self.log_value.copy_(torch.where(known, self.log_value, estimate))
        return self.log_value.clone()
