"""Dense learning once more, in plain loops over cells, to check the fast forms against.

Vectors are float64 and may carry gradients; a map is a list of rows of D numbers, row by row of its
cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.reference.objectives import cosine

Box = tuple[float, float, float, float]  # top, left, height, width in source pixels


def corners(box: Box, flipped: bool, side: float) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) as shares of the image, the x swapped where it is mirrored: the authors'
    form of a view's place."""
    top, left, height, width = box
    x1, x2 = left / side, (left + width) / side
    return (x2 if flipped else x1, top / side, x1 if flipped else x2, (top + height) / side)


def near(
    first: tuple[float, ...], second: tuple[float, ...], shapes: tuple[tuple[int, int], ...],
    threshold: float,
) -> list[list[bool]]:  # fmt: skip
    """Xie et al. 2020, Eq. 1: which cells of the second map are positives of each of the first."""
    centres, diagonals = [], []
    for (x1, y1, x2, y2), (rows, columns) in zip((first, second), shapes, strict=True):
        bin_width, bin_height = (x2 - x1) / columns, (y2 - y1) / rows  # negative where mirrored
        centres.append(
            [
                (x1 + (j + 0.5) * bin_width, y1 + (i + 0.5) * bin_height)
                for i in range(rows)
                for j in range(columns)
            ]
        )
        diagonals.append(math.sqrt(bin_width**2 + bin_height**2))
    return [[math.dist(a, b) / max(diagonals) < threshold for b in centres[1]] for a in centres[0]]


def propagated(x: Tensor, u: Tensor, gamma: float) -> Tensor:
    """Eq. 3 of one map, L×D, from its vectors and the transformed ones."""
    rows = []
    for a in x:
        total = torch.zeros_like(u[0])
        for b, value in zip(x, u, strict=True):
            similarity = cosine(a, b)
            if similarity > 0:
                total = total + similarity**gamma * value / value.norm()
        rows.append(total)
    return torch.stack(rows)


def consistency(online: Tensor, target: Tensor, pairs: list[list[bool]]) -> Tensor:
    """Eq. 6 of one image and direction: the mean cosine of positive pairs, 0 where there are none;
    the 1e-6 is the authors' code's."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for i, row in enumerate(pairs):
        for j, positive in enumerate(row):
            if positive:
                total = total + cosine(online[i], target[j])
                count += 1
    return total / (count + 1e-6)


def pixel_contrast(
    online: Tensor, target: Tensor, pairs: list[list[bool]], temperature: float
) -> Tensor:
    """Eq. 2 of one image and direction: the mean over cells that have a positive."""
    terms = []
    for i, row in enumerate(pairs):
        if any(row):
            scores = [torch.exp(cosine(online[i], other) / temperature) for other in target]
            positives = [score for score, positive in zip(scores, row, strict=True) if positive]
            terms.append(-torch.log(sum(positives) / sum(scores)))
    return torch.stack(terms).mean() if terms else torch.zeros((), dtype=torch.float64)


def dense_contrast(
    query: Tensor, key: Tensor, query_features: Tensor, key_features: Tensor, queue: Tensor,
    temperature: float,
) -> Tensor:  # fmt: skip
    """Wang et al. 2020, Eq. 2 and Sec. 3.3, of one image."""
    total = torch.zeros((), dtype=torch.float64)
    for q, feature in zip(query, query_features.detach(), strict=True):
        alike = [cosine(feature, other).item() for other in key_features.detach()]
        positive = torch.exp(cosine(q, key[alike.index(max(alike))]) / temperature)
        negatives = [torch.exp(cosine(q, old) / temperature) for old in queue]
        total = total - torch.log(positive / (positive + sum(negatives)))
    return total / len(query)
