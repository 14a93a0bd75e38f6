"""Targets of patches and their losses once more, in plain loops, to check the fast ones against.

Images are 3×H×W float64 tensors of one image each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def patches(image: Tensor, patch: int) -> list[list[Tensor]]:
    """He et al. 2021, the authors' order: patches row by row; in one row, column, channel."""
    _, height, width = image.shape
    return [
        [
            image[c, top + i, left + j]
            for i in range(patch)
            for j in range(patch)
            for c in range(3)
        ]
        for top in range(0, height, patch)
        for left in range(0, width, patch)
    ]  # fmt: skip


def standardized(numbers: list[Tensor]) -> list[float]:
    """He et al. 2021, "Reconstruction target": (x - mean) / sqrt(unbiased variance + 1e-6)."""
    values = [float(x) for x in numbers]
    mean = sum(values) / len(values)
    variance = sum((x - mean) ** 2 for x in values) / (len(values) - 1)
    return [(x - mean) / math.sqrt(variance + 1e-6) for x in values]


def gradient(image: Tensor, c: int, y: int, x: int) -> tuple[float, float]:
    """Sobel's: left less right, above less below; beyond an edge the image is mirrored in it."""
    _, height, width = image.shape

    def at(row: int, column: int) -> float:
        row, column = abs(row), abs(column)
        row = row if row < height else 2 * (height - 1) - row
        column = column if column < width else 2 * (width - 1) - column
        return float(image[c, row, column])

    across, down = 0.0, 0.0
    for offset, weight in ((-1, 1.0), (0, 2.0), (1, 1.0)):
        across += weight * (at(y + offset, x - 1) - at(y + offset, x + 1))
        down += weight * (at(y - 1, x + offset) - at(y + 1, x + offset))
    return across, down


def histogram(image: Tensor, c: int, top: int, left: int, *, bins: int, cell: int) -> list[float]:
    """Wei et al. 2021, Sec. 3.2: lengths of gradients by their angle, the whole of length 1."""
    sums = [0.0] * bins
    for y in range(top, top + cell):
        for x in range(left, left + cell):
            across, down = gradient(image, c, y, x)
            place = math.floor(math.atan2(across, down) / math.pi * bins) % bins
            sums[place] += math.sqrt(across**2 + down**2)
    length = math.sqrt(sum(s**2 for s in sums))
    return [s / length if length else 0.0 for s in sums]


def hog(image: Tensor, *, patch: int, bins: int, cell: int) -> list[list[float]]:
    """Of each patch: channel, bin, cell row, cell column."""
    _, height, width = image.shape
    found = []
    for top in range(0, height, patch):
        for left in range(0, width, patch):
            row: list[float] = []
            for c in range(3):
                cells = [
                    histogram(image, c, top + i, left + j, bins=bins, cell=cell)
                    for i in range(0, patch, cell)
                    for j in range(0, patch, cell)
                ]
                row += [one[b] for b in range(bins) for one in cells]
            found.append(row)
    return found


def squared_distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def nearest(row: list[float], centres: list[list[float]]) -> int:
    """The first of the nearest centres."""
    distances = [squared_distance(row, c) for c in centres]
    return distances.index(min(distances))


def inertia(rows: list[list[float]], centres: list[list[float]]) -> float:
    """The sum over rows of the squared distance to the nearest centre."""
    return sum(squared_distance(row, centres[nearest(row, centres)]) for row in rows)


def lloyd(
    rows: list[list[float]], centres: list[list[float]], iterations: int
) -> list[list[float]]:
    """K-means: centres become the means of the rows that they are the nearest of."""
    for _ in range(iterations):
        members: list[list[list[float]]] = [[] for _ in centres]
        for row in rows:
            members[nearest(row, centres)].append(row)
        centres = [
            [sum(values) / len(own) for values in zip(*own, strict=True)] if own else centre
            for own, centre in zip(members, centres, strict=True)
        ]
    return centres


def reconstruction_loss(predicted: Tensor, targets: Tensor, hidden: Tensor, loss: str) -> Tensor:
    """The mean over all hidden patches of all images; N×L×D, N×L×D or N×L classes, N×L."""
    terms = []
    for n in range(hidden.shape[0]):
        for place in range(hidden.shape[1]):
            if not hidden[n, place]:
                continue
            row = predicted[n, place]
            if loss == "cross_entropy":
                below = sum(torch.exp(x) for x in row)
                terms.append(-torch.log(torch.exp(row[targets[n, place]]) / below))
            else:
                differences = [x - t for x, t in zip(row, targets[n, place], strict=True)]
                each = [d * d if loss == "mse" else abs(d) for d in differences]
                terms.append(sum(each) / len(each))
    return sum(terms) / len(terms)
