"""Sinkhorn-Knopp: assignments that use all prototypes alike."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.distributed import gather


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments near exp(scores / epsilon) that share the samples among the prototypes.

    Each iteration scales the prototypes (over the samples of all processes) to a share of 1/K,
    then the samples to 1; the last step is the samples', so every one sums to 1. In logarithms,
    so that no sharpness underflows.

    Args:
        scores: n×H×K of this process; each head is balanced on its own.
        epsilon: > 0, smaller is sharper.
        iterations: >= 1.
    Returns:
        n×H×K, without gradient.
    Source: Caron et al. 2020, arXiv:2006.09882, Eq. 3 to 5; Cuturi 2013, arXiv:1306.0895.
    """
    log_q = scores.float() / epsilon if scores.dtype != torch.float64 else scores / epsilon
    for _ in range(iterations):
        usage = torch.logsumexp(log_q, dim=0)  # H×K
        log_q = log_q - torch.logsumexp(gather(usage[None]), dim=0)
        log_q = log_q - torch.logsumexp(log_q, dim=2, keepdim=True)
    return log_q.exp()
