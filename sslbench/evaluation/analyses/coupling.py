"""The coupling of negatives and positives in InfoNCE, by batch size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.evaluation.analyses.analysis import (
    Analysis,
    Record,
    batches,
    blocks,
    check_batch_sizes,
    head,
    histogram,
    pairs,
    rows_of,
    temperature_of,
)
from sslbench.evaluation.subject import Subject

BINS = 50


def analyze_coupling(
    subject: Subject,
    *,
    batch_sizes: Sequence[int] | None = None,
    temperature: float | None = None,
) -> Analysis:
    """The multiplier q_B of the projections by batch size: its mean, coefficient of variation and
    distribution over the anchors of one epoch of test images.

    Networks are in evaluation mode: no batch size changes an embedding, only which negatives it
    meets.

    Args:
        subject: a run with a projector, or with none in its recipe (z is then h).
        batch_sizes: images; None takes 32 to 1024, as far as there are test images.
        temperature: None is the run's own.
    Raises:
        UserError: a batch size below 2 or above the number of test images; no projector; no
            temperature.
    Source: Yeh et al. 2021, arXiv:2110.06848, Fig. 1.
    """
    temperature = temperature_of(subject, temperature)
    rows = rows_of(subject)
    sizes = check_batch_sizes(batch_sizes, len(rows))
    first, second = pairs(subject, rows, space="projection")
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
    summary, points = [], []
    for size in sizes:
        parts = batches(len(rows), size).to(first.device)
        q = torch.cat([multiplier(first[i], second[i], temperature=temperature) for i in parts])
        own: Record = {**head(subject, "projection"), "temperature": temperature}
        own |= {"batch_size": size}
        mean, variation = float(q.mean()), coefficient_of_variation(q)
        summary.append({**own, "anchors": len(q), "mean": mean, "variation": variation})
        points += [
            {**own, "multiplier": float(x), "density": float(y)}
            for x, y in zip(*histogram(q, edges), strict=True)
        ]
    return Analysis(name="coupling", summary=summary, points=points)


def multiplier(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """q_B = 1 - e^{s+/t} / (e^{s+/t} + sum over negatives of e^{s-/t}) of every anchor.

    It multiplies the whole gradient of an anchor's InfoNCE: near 0 where the positive is easy and
    negatives are few, near 1 in large batches.

    Args:
        first, second: N×D, l2-normalised views of N >= 2 images, all in one batch.
        temperature: t > 0.
    Returns:
        2N float64 in (0, 1): anchors of the first view, then of the second; 2N - 2 negatives each.
    Source: Yeh et al. 2021, Proposition 1.
    """
    parts = []
    for block in blocks(first, second):
        logits = (block.cosines / temperature).masked_fill(~block.negative, -torch.inf)
        parts.append(torch.sigmoid(logits.logsumexp(dim=1) - block.positive / temperature))
    return torch.cat(parts)


def coefficient_of_variation(q: Tensor) -> float:
    """Standard deviation over mean (biased variance); 0 where all are alike."""
    return float(q.std(correction=0) / q.mean())
