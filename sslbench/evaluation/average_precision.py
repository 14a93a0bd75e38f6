"""Average precision of one class, with and without interpolation."""

from __future__ import annotations

import torch
from torch import Tensor


def average_precision(scores: Tensor, positive: Tensor, *, interpolated: bool) -> float:
    """Between 0 and 1: precision over recall, at every threshold that is a score.

    Images of one score are one threshold, so that their order does not matter and a constant score
    has the share of positives.

    Args:
        scores: N, finite; positive: bool N, at least one true.
        interpolated: take at each recall the best precision at that recall or a higher one, as VOC
            since 2010 and VISSL (all points, not eleven); otherwise precision as it is, as
            scikit-learn's `average_precision_score`.
    Source: Everingham et al. 2010 (VOC), Sec. 4.2, and the development kit of VOC 2010.
    """
    order = scores.argsort(descending=True, stable=True)
    hits = positive[order].double().cumsum(0)
    ranked = scores[order]
    ends = torch.ones(len(ranked), dtype=torch.bool)  # where a threshold lies behind an image
    ends[:-1] = ranked[:-1] != ranked[1:]
    hits, seen = hits[ends], (ends.nonzero().flatten() + 1).double()
    precision = hits / seen
    if interpolated:
        precision = precision.flip(0).cummax(0).values.flip(0)
    gained = hits.diff(prepend=hits.new_zeros(1)) / hits[-1]
    return float((gained * precision).sum())
