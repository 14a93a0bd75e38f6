"""Geometry of features on the unit sphere: what a representation is like before any classifier.

Sums run in chunks and in float64, so that a hundred thousand images need no more memory than one
chunk of pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.engine.monitors import effective_rank, embedding_std
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.protocols import Geometry
from sslbench.evaluation.subject import Subject
from sslbench.recipes.specs import Views
from sslbench.streams import permutation, stream_key

_PAIRS = 2**22  # pairs at a time


def run(protocol: Geometry, subject: Subject) -> Outcome:
    """Alignment, uniformity, tolerance, effective rank and standard deviation on test images.

    Args:
        protocol: the powers, and how many images take part.
        subject: run and data; the views are the run's own.
    """
    rows = test_rows(protocol, subject)
    features = subject.features.test[rows].to(subject.device)
    z = F.normalize(features, dim=1)
    first, second = positive_pairs(protocol, subject, rows)
    labels = subject.test_labels[rows].to(subject.device)
    values = {
        "alignment": alignment(first, second, power=protocol.alignment_power),
        "uniformity": uniformity(z, scale=protocol.uniformity_scale),
        "tolerance": tolerance(z, labels),
        "effective_rank": float(effective_rank(features, rows=None)),
        "std": float(embedding_std(features)),
    }
    return Outcome(values=values, chosen={}, heldout={})


def test_rows(protocol: Geometry, subject: Subject) -> Tensor:
    """Positions of the test images that take part, in order, int64 on the CPU."""
    count = len(subject.dataset.test)
    order = permutation(stream_key(protocol.seed, "geometry images", count), count)
    return order[: protocol.max_images].sort().values


def positive_pairs(protocol: Geometry, subject: Subject, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Features of two views of each of N test images under the run's own recipe: N×D and N×D."""
    own = subject.recipe.views
    first, second = subject.encode_views(
        subject.dataset.test.images,
        rows,
        Views(first=own.first, second=own.second, common=own.common),
        key=stream_key(protocol.seed, "geometry views"),
    )
    return first, second


def alignment(first: Tensor, second: Tensor, *, power: float) -> float:
    """Mean of ||x - y||^power over positive pairs of l2-normalised features; 0 is perfect.

    Args:
        first, second: N×D, normalised here; row i of both are views of one image.
    Source: Wang and Isola 2020, Sec. 4.1.1.
    """
    x, y = F.normalize(first.double(), dim=1), F.normalize(second.double(), dim=1)
    return float((x - y).norm(dim=1).pow(power).mean())


def uniformity(z: Tensor, *, scale: float) -> float:
    """log of the mean of exp(-scale ||x - y||^2) over all pairs of different rows.

    Args:
        z: N×D, l2-normalised, N >= 2.
    Returns:
        Between about -2 * scale (spread evenly, D large) and 0 (all alike).
    Source: Wang and Isola 2020, Sec. 4.1.2.
    """
    total = torch.zeros((), dtype=torch.float64, device=z.device)
    rows = max(1, _PAIRS // len(z))
    for start in range(0, len(z), rows):
        cosines = z[start : start + rows] @ z[start:].T  # every pair from its earlier row
        kernel = (2 * scale * (cosines - 1)).exp()  # |x - y|² = 2 - 2 cos
        total += kernel.triu(diagonal=1).sum(dtype=torch.float64)
    return float((total / (len(z) * (len(z) - 1) / 2)).log())


def tolerance(z: Tensor, labels: Tensor) -> float:
    """Mean cosine over pairs of different images of one class, all such pairs alike.

    Args:
        z: N×D, l2-normalised; labels: N int64.
    Returns:
        Between -1 and 1; NaN where no class has two images.
    Source: Wang and Liu 2021, "Understanding the behaviour of contrastive loss", Sec. 4.3.
    """
    num_classes = int(labels.max()) + 1
    # The squared length of a class's sum is the sum of cosines over all its ordered pairs.
    sums = z.new_zeros(num_classes, z.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, z.double())
    counts = torch.bincount(labels, minlength=num_classes).double()
    own = z.double().square().sum()  # the pairs of an image with itself
    return float((sums.square().sum() - own) / (counts * (counts - 1)).sum())
