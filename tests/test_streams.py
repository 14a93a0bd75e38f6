"""Random numbers as functions of (key, sample)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta as distribution
from scipy.stats import chisquare, kstest

from sslbench.streams import beta, integers, stream_key


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6, 2.0, 20.0])
def test_beta_numbers_have_their_distribution(alpha: float) -> None:
    drawn = beta(stream_key(0, "test"), torch.arange(500), 8, alpha=alpha).flatten().numpy()
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert kstest(drawn, distribution(alpha, alpha).cdf).pvalue > 0.01
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_a_sample_draws_the_same_beta_numbers_whoever_holds_it() -> None:
    whole = beta(7, torch.arange(10), 4, alpha=1.6)
    assert torch.equal(beta(7, torch.arange(5, 10), 4, alpha=1.6), whole[5:])


@pytest.mark.parametrize("high", [1, 10, 1_281_167])
def test_integers_are_uniform_and_below_their_bound(high: int) -> None:
    drawn = integers(stream_key(0, "test"), torch.arange(500), 40, high=high)
    assert drawn.min() >= 0 and drawn.max() < high
    if high > 1:
        counts = torch.bincount(drawn.flatten() * 10 // high, minlength=10)
        assert chisquare(counts.numpy()).pvalue > 0.01


def test_a_sample_draws_the_same_integers_whoever_holds_it() -> None:
    whole = integers(7, torch.arange(10), 4, high=1000)
    assert torch.equal(integers(7, torch.arange(5, 10), 4, high=1000), whole[5:])
