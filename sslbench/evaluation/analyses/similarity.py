"""How alike positives and the nearest negatives are: what the temperature decides."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.evaluation.analyses.analysis import (
    PAIRS,
    Analysis,
    Space,
    embeddings,
    head,
    histogram,
    pairs,
    rows_of,
    unlabelled_note,
)
from sslbench.evaluation.geometry import tolerance
from sslbench.evaluation.subject import Subject

NEAREST = 10
BINS = 100


def analyze_similarity(subject: Subject, *, space: Space) -> Analysis:
    """Distributions of the cosines of positives and of the ten nearest negatives, and tolerance.

    The anchor is an image's first view, the positive its second, the negatives the second views of
    all other test images. Without labels the tolerance and the share of the anchor's class are NaN.

    Raises:
        UserError: fewer than eleven test images; no projector where one is asked for.
    Source: Wang and Liu 2021, arXiv:2012.09740, Fig. 8 (`pos`, `n1` to `n10`) and Sec. 4.3.
    """
    rows = rows_of(subject, least=NEAREST + 1)
    first, second = pairs(subject, rows, space=space)
    positive, nearest, found, mean = nearest_negatives(first, second, nearest=NEAREST)
    z = F.normalize(embeddings(subject, rows, space=space), dim=1)
    by_class = {"tolerance": math.nan, "nearest_same_class_percent": math.nan}
    if subject.labelled:
        labels = subject.test_labels[rows].to(subject.device)
        same = labels[found] == labels[:, None]
        by_class["tolerance"] = tolerance(z, labels)
        by_class["nearest_same_class_percent"] = 100 * float(same.double().mean())
    series = {"pos": positive} | {f"n{i + 1}": nearest[:, i] for i in range(NEAREST)}
    summary = {
        **head(subject, space),
        "images": len(rows),
        "tolerance": by_class["tolerance"],
        "positive": float(positive.mean()),
        **{name: float(series[name].mean()) for name in ("n1", f"n{NEAREST}")},
        "all_negatives": mean,
        "nearest_same_class_percent": by_class["nearest_same_class_percent"],
    }
    return Analysis(
        name="similarity",
        summary=[summary],
        points=_violins(subject, space, series),
        notes=unlabelled_note(subject, "tolerance, and no share of the anchor's class"),
    )


def nearest_negatives(
    first: Tensor, second: Tensor, *, nearest: int
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Cosines of each anchor with its positive and with its nearest negatives.

    Args:
        first, second: N×D, l2-normalised; row i of both are views of one image. Row i of `first`
            is an anchor, row i of `second` its positive, the other rows its negatives.
        nearest: k < N.
    Returns:
        N of the positives; N×k of the nearest negatives, falling; N×k int64, which images these
        are; the mean over all negatives.
    """
    positives, values, places = [], [], []
    total = 0.0
    for rows in torch.arange(len(first), device=first.device).split(max(1, PAIRS // len(first))):
        cosines = first[rows] @ second.T
        own = cosines.gather(1, rows[:, None])
        total += float(cosines.sum(dtype=torch.float64) - own.sum(dtype=torch.float64))
        top = cosines.scatter(1, rows[:, None], -torch.inf).topk(nearest, dim=1)
        positives.append(own[:, 0])
        values.append(top.values)
        places.append(top.indices)
    mean = total / (len(first) * (len(first) - 1))
    return torch.cat(positives), torch.cat(values), torch.cat(places), mean


def _violins(subject: Subject, space: Space, series: dict[str, Tensor]) -> list[dict[str, object]]:
    """Densities of all series over the same bins; the outermost hold what lies beyond them, on the
    low side the farthest thousandth."""
    low = min(float(values.double().quantile(1e-3)) for values in series.values())
    high = max(float(values.max()) for values in series.values())
    edges = torch.linspace(low - 1e-6, high + 1e-6, BINS + 1, dtype=torch.float64)
    return [
        {**head(subject, space), "series": name, "cosine": float(x), "density": float(y)}
        for name, values in series.items()
        for x, y in zip(*histogram(values, edges), strict=True)
    ]
