"""Singular values of the embeddings' covariance: which directions are used at all."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.engine.monitors import collapse, effective_rank, embedding_std
from sslbench.evaluation.analyses.analysis import (
    Analysis,
    Record,
    Space,
    embeddings,
    head,
    rows_of,
)
from sslbench.evaluation.subject import Subject

THRESHOLDS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of the largest singular value


def analyze_spectrum(subject: Subject, *, space: Space) -> Analysis:
    """The spectrum of the covariance of test embeddings, and the collapse that it shows.

    Complete collapse is a constant embedding, dimensional collapse one that spans fewer directions
    than it has: a singular value below 1e-7 of the largest, or an effective rank below the limit
    of the verdict on a run. Effective rank is that of `geometry.v1`, of the centred embeddings'
    own singular values, the square roots of those of the covariance.

    Raises:
        UserError: no projector where one is asked for; fewer than two test images.
    Source: Jing et al. 2021, arXiv:2110.09348, Sec. 3 and Fig. 2.
    """
    z = embeddings(subject, rows_of(subject, least=2), space=space)
    values = covariance_spectrum(z)
    rank, std = float(effective_rank(z, rows=None)), float(embedding_std(z))
    counts = {f"below_{t:.0e}".replace("e-0", "e-"): below(values, t) for t in THRESHOLDS}
    least = subject.recipe.least_std
    state, reason = _collapse(z, values, rank, std, least_std=least)
    summary: Record = {
        **head(subject, space),
        "images": len(z),
        "dimensions": z.shape[1],
        "effective_rank": rank,
        "std": std,
        **counts,
        "collapse": state,
    }
    largest = float(values.max())
    points = [
        {
            **head(subject, space),
            "index": i,
            "singular_value": float(value),
            "of_the_largest": float(value) / largest if largest > 0 else 0.0,
        }
        for i, value in enumerate(values, start=1)
    ]
    notes = [f"{subject.folder.path.name}: {reason}"]
    return Analysis(name="spectrum", summary=[summary], points=points, notes=notes)


def covariance_spectrum(z: Tensor) -> Tensor:
    """Singular values of the covariance of embeddings, falling, float64.

    Args:
        z: N×D, N >= 2; not normalised here.
    Returns:
        min(N - 1, D) values: N images leave the rest at zero, whatever the encoder.
    Source: Jing et al. 2021, Eq. 1: C = (1/N) sum (z - mean)(z - mean)^T.
    """
    z = z.double()
    z = z - z.mean(dim=0)
    gram = z @ z.T if len(z) < z.shape[1] else z.T @ z
    values = torch.linalg.eigvalsh(gram / len(z)).clamp_min(0).flip(0)
    return values[: min(len(z) - 1, z.shape[1])]


def below(values: Tensor, threshold: float) -> int:
    """How many singular values are below `threshold` of the largest; all where that is 0."""
    largest = values.max()
    return int((values < threshold * largest).sum()) if largest > 0 else len(values)


def _collapse(
    z: Tensor, values: Tensor, rank: float, std: float, *, least_std: float
) -> tuple[str, str]:
    """The kind of collapse, and the numbers that say so."""
    dimensions, empty = z.shape[1], below(values, THRESHOLDS[-1])
    state = collapse(std, rank, out_dim=dimensions, allowed=len(values), least_std=least_std)
    spread = f"effective rank {rank:.1f} of {len(values)}, {empty} directions are empty"
    if state == "collapsed":
        return "complete", (
            f"complete collapse: the std of unit embeddings is {std:.2g}, "
            f"{dimensions**-0.5:.2g} would be an even spread."
        )
    if state == "dimensional" or empty:
        return "dimensional", f"dimensional collapse: {spread}."
    return "none", f"no collapse: {spread}."
