"""Codes, clusters and their losses once more, in plain loops, to check the fast ones against.

Every function takes float64 tensors, one row per image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Caron et al. 2020, Eq. 3 to 5, on N×K scores: Diag(u) exp(scores / epsilon) Diag(v)."""
    n, k = scores.shape
    q = [[math.exp(float(scores[i, j]) / epsilon) for j in range(k)] for i in range(n)]
    for _ in range(iterations):
        for j in range(k):
            total = sum(q[i][j] for i in range(n))
            for i in range(n):
                q[i][j] *= 1 / k / total
        for i in range(n):
            total = sum(q[i])
            for j in range(k):
                q[i][j] *= 1 / n / total
    return torch.tensor([[value / sum(row) for value in row] for row in q], dtype=torch.float64)


def cross_entropy(code: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """-sum_k q_k log p_k of one row, p = softmax(scores / temperature)."""
    exponentials = [torch.exp(s / temperature) for s in scores]
    below = sum(exponentials)
    terms = [q * torch.log(e / below) for q, e in zip(code, exponentials, strict=True)]
    return -sum(terms)


def swapped_prediction(
    views: list[Tensor], temperature: float, epsilon: float, iterations: int,
    stored: list[Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Caron et al. 2020, Eq. 2 and 6, on N×K scores: views 0 and 1 are global and give codes, every
    other view predicts them; with `stored`, Q×K past scores of each, only the batch's are kept."""
    total = torch.zeros((), dtype=torch.float64)
    n = len(views[0])
    for source in (0, 1):
        rows = views[source].detach()
        if stored is not None:
            rows = torch.cat([stored[source], rows])
        codes = sinkhorn(rows, epsilon, iterations)[-n:]
        for v, scores in enumerate(views):
            if v != source:
                for i in range(n):
                    entropy = cross_entropy(codes[i], scores[i], temperature)
                    total = total + entropy / (n * (len(views) - 1) * 2)
    return total


def cluster_prediction(
    views: list[Tensor], assignments: list[list[int]], temperature: float
) -> Tensor:
    """Caron et al. 2020, Eq. 8, on N×H×K scores: every view predicts the image's cluster of every
    head."""
    n, heads = views[0].shape[:2]
    total = torch.zeros((), dtype=torch.float64)
    for scores in views:
        for i in range(n):
            for h in range(heads):
                code = torch.zeros(scores.shape[2], dtype=torch.float64)
                code[assignments[i][h]] = 1.0
                entropy = cross_entropy(code, scores[i, h], temperature)
                total = total + entropy / (n * heads * len(views))
    return total


def spherical_k_means_step(rows: Tensor, centroids: Tensor) -> Tensor:
    """The unit sum of each cluster's rows, rows going to the centroid of the largest cosine."""
    sums = torch.zeros_like(centroids)
    for row in rows:
        cosines = [float((row * c).sum()) for c in centroids]
        sums[cosines.index(max(cosines))] += row
    return torch.stack([s / (s * s).sum().sqrt() for s in sums])
