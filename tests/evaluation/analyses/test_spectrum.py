from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sslbench.engine.monitors import effective_rank, embedding_std
from sslbench.evaluation.analyses import analyze_spectrum
from sslbench.evaluation.analyses.spectrum import _collapse, below, covariance_spectrum


@pytest.mark.parametrize(("n", "d"), [(20, 6), (6, 20)])
def test_spectrum_equals_the_svd_of_a_covariance_from_a_loop(sphere, n, d):
    z = sphere(n, d).numpy()
    mean = sum(z) / n
    covariance = sum(np.outer(row - mean, row - mean) for row in z) / n
    expected = np.linalg.svd(covariance, compute_uv=False)[: min(n - 1, d)]
    values = covariance_spectrum(torch.from_numpy(z))
    assert values.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_effective_rank_is_the_entropy_of_the_roots(sphere):
    z = sphere(30, 5)
    share = covariance_spectrum(z).sqrt()
    share = share / share.sum()
    entropy = -sum(p * math.log(p) for p in share.tolist())
    assert float(effective_rank(z)) == pytest.approx(math.exp(entropy))


def test_counts_are_of_values_below_a_share_of_the_largest():
    values = torch.tensor([10.0, 1.0, 5e-3, 1e-8], dtype=torch.float64)
    assert [below(values, t) for t in (1e-1, 1e-3, 1e-7)] == [2, 2, 1]
    assert below(torch.zeros(4), 1e-7) == 4


def judged(z: torch.Tensor) -> str:
    values = covariance_spectrum(z)
    rank, std = float(effective_rank(z)), float(embedding_std(z))
    return _collapse(z, values, rank, std, least_std=0.1)[0]


def test_collapse_is_named(sphere):
    healthy = sphere(200, 16)
    assert judged(healthy) == "none"
    assert judged(torch.ones(200, 16) + 1e-3 * healthy) == "complete"
    assert judged(healthy[:, :1] * torch.ones(16)) == "dimensional"  # of rank one
    one_empty = healthy.clone()
    one_empty[:, 3] = 0.5
    assert judged(one_empty) == "dimensional"


def test_few_images_are_not_a_collapse(sphere):
    """Ten images span nine directions, whatever the encoder."""
    assert judged(sphere(10, 64)) == "none"


def test_a_run_lists_every_singular_value(subject):
    result = analyze_spectrum(subject, space="projection")
    (summary,) = result.summary
    assert summary["dimensions"] == len(result.points) == 8
    shares = [p["of_the_largest"] for p in result.points]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    counts = [name for name in summary if name.startswith("below")]
    assert counts == [f"below_1e-{i}" for i in (3, 4, 5, 6, 7)]
    assert summary["below_1e-3"] == sum(s < 1e-3 for s in shares)
    assert result.notes
