"""Random numbers as functions of (key, sample)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import beta as distribution
from scipy.stats import kstest

from sslbench.streams import beta, stream_key


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6, 2.0, 20.0])
def test_beta_numbers_have_their_distribution(alpha: float) -> None:
    drawn = beta(stream_key(0, "test"), torch.arange(500), 8, alpha=alpha).flatten().numpy()
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert kstest(drawn, distribution(alpha, alpha).cdf).pvalue > 0.01
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_a_sample_draws_the_same_beta_numbers_whoever_holds_it() -> None:
    whole = beta(7, torch.arange(10), 4, alpha=1.6)
    assert torch.equal(beta(7, torch.arange(5, 10), 4, alpha=1.6), whole[5:])
