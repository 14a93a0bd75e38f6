"""Sinkhorn and Knopp's algorithm: soft assignments that use all prototypes equally.

It works on logarithms. With exp(score / epsilon) of scores less their maximum, a prototype far from
all images sums to 0 once its cosines lie 88 epsilon below the maximum (float32's range), and the
division gives NaN; a maximum for each row would change the result, which after few iterations
depends on where they start. Logarithms do neither and cost only exponentials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sslbench.distributed import gather, rank, world_size


@torch.no_grad()
def sinkhorn(
    scores: Tensor, *, epsilon: float, iterations: int, stored: Tensor | None = None
) -> Tensor:
    """The codes of a batch: each sums to 1, and over the global batch prototypes are used alike.

    An iteration scales every prototype's sum over the images of all processes to 1/K, then every
    image's sum over the prototypes to 1/B; so the last step is the image's, and its row times B
    is the code. No gradient.

    Args:
        scores: N×H×K, this process's rows; computed in float32 (float64 stays) under autocast too.
        epsilon: weight of the entropy, > 0; to 0 the codes become a hard, balanced assignment.
        iterations: >= 0; after none the codes are softmax(scores / epsilon).
        stored: Q×H×K scores of past images, the same on all processes, balanced with the batch.
    Returns:
        N×H×K codes, those of the batch.
    Source: Caron et al. 2020, arXiv:2006.09882, Sec. 3.1, Eq. 3 to 5, and the authors' code.
    """
    with torch.autocast(scores.device.type, enabled=False):
        logits = _wide(scores) / epsilon  # N×H×K
        rows = logits
        if stored is not None:  # each process balances its share of them
            rows = torch.cat((logits, _wide(stored[rank() :: world_size()]) / epsilon))
        potentials = prototype_potentials(lambda: [rows], iterations=iterations)
        # The last half step is the images': every code sums to 1, after however few iterations.
        return (logits + potentials).softmax(dim=-1)


def prototype_potentials(parts: Callable[[], Iterable[Tensor]], *, iterations: int) -> Tensor:
    """What Sinkhorn adds to the logits of each prototype; softmax(logits + potentials) is the code.

    The images' own potentials follow from these and are never kept, so that the rows may come in
    parts, computed anew at every iteration: a memory of 1.28 million images scored against 3,000
    prototypes would be 15 GB.

    Args:
        parts: gives this process's logits, scores over epsilon, in tensors n×H×K, always the same.
        iterations: >= 0.
    Returns:
        H×K, equal on all processes; 0 after no iteration.
    """
    potentials: Tensor | None = None
    for _ in range(iterations):
        sums = []
        for logits in parts():
            if potentials is not None:  # images sum to 1, after the first prototype step
                logits = logits - (logits + potentials).logsumexp(dim=-1, keepdim=True)
            sums.append(logits.logsumexp(dim=0))  # H×K
        here = torch.stack(sums).logsumexp(dim=0, keepdim=True)  # 1×H×K
        # A sum of 1 rather than 1/K is a constant for all, which the images' step cancels.
        potentials = -gather(here).logsumexp(dim=0)
    return torch.zeros(()) if potentials is None else potentials


def _wide(scores: Tensor) -> Tensor:
    return scores if scores.dtype == torch.float64 else scores.float()
