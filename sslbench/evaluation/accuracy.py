"""From class scores to accuracies in percent, with ties settled the same way everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Outcome:
    """What a protocol found: values, choices, and what it said of each test image.

    Attributes:
        values, chosen, heldout: as in `Score`.
        predicted: N int64 classes of the test images; None where nothing is predicted.
        kept: further arrays by name that are kept beside the score: detections, maps.
    """

    values: dict[str, float]
    chosen: dict[str, float]
    heldout: dict[str, float]
    predicted: Tensor | None = None
    kept: dict[str, np.ndarray] = field(default_factory=dict)


def ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the true one, N int64; of equal classes the lower index does.

    Args:
        scores: ...×N×C. A row that is not finite has its true class last.
        labels: N int64.
    """
    true = scores.gather(-1, labels.expand(scores.shape[:-1])[..., None])  # ...×N×1
    earlier = torch.arange(scores.shape[-1], device=scores.device) < labels[:, None]  # N×C
    before = (scores > true).logical_or_((scores == true) & earlier).sum(-1)
    finite = torch.isfinite(scores).all(-1)
    return torch.where(finite, before, scores.shape[-1])


def accuracies(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1, and top-5 where there are more than five classes, in percent, of N×C scores."""
    rank = ranks(scores, labels)
    values = {"top1": percent(rank < 1)}
    if scores.shape[-1] > 5:
        values["top5"] = percent(rank < 5)
    return values


def percent(correct: Tensor) -> float:
    """The share of true values, times 100."""
    return 100.0 * int(correct.sum()) / max(1, correct.numel())


def predictions(scores: Tensor) -> Tensor:
    """The class of the largest score, the first of equal ones: N×C to N int64 on the CPU."""
    return torch.from_numpy(scores.cpu().numpy().argmax(-1))  # numpy promises the first


def chunks(x: Tensor, rows: int) -> tuple[Tensor, ...]:
    """x in parts of at most `rows` rows, in order."""
    return tuple(x[start : start + rows] for start in range(0, len(x), rows))


def complement(indices: Tensor, length: int) -> Tensor:
    """The positions in range(length) that are not among the indices, in order, int64."""
    keep = torch.ones(length, dtype=torch.bool)
    keep[indices.cpu()] = False
    return keep.nonzero().flatten()
