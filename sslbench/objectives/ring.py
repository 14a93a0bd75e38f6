"""The negatives between two quantiles of similarity."""

from __future__ import annotations

import torch

from sslbench.objectives.candidates import Candidates
from sslbench.recipes.specs import Ring


@torch.compiler.disable  # type: ignore[untyped-decorator]  # its width changes as it anneals
def in_ring(spec: Ring, candidates: Candidates, *, progress: float) -> Candidates:
    """The positive and, of the negatives ranked by similarity, those of the ring.

    Which negatives are chosen carries no gradient; their scores do.

    Args:
        candidates: A×C.
        progress: share of the training steps already done, for the annealing.
    Returns:
        B×(1 + R) candidates, a row for each pair: the positive, then R negatives in no order.
    Raises:
        UserError: the ring of so many negatives is empty.
    Source: Wu et al. 2020, arXiv:2010.02037, Sec. 3; the inner quantile is of the ball, as in
        the authors' code.
    """
    candidates = candidates.one_each()
    spec.require_entries(candidates.num_negatives)
    ball, dropped = spec.counts(candidates.num_negatives, progress=progress)
    # Selected twice and sorted never: a loss is a sum over the ring, and sorting takes longest.
    ring = candidates.negatives().topk(ball, dim=1, sorted=False).values  # B×(R + dropped)
    if dropped:
        ring = ring.topk(ball - dropped, dim=1, largest=False, sorted=False).values  # B×R
    scores = torch.cat([candidates.positive()[:, None], ring], dim=1)
    return Candidates(scores, torch.zeros_like(candidates.own), ball - dropped)
