from __future__ import annotations

import torch
from torch.testing import assert_close

from sslbench.objectives.candidates import Candidates


def test_sum_and_entropy_of_a_softmax_are_torchs_with_the_gradient_of_the_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 30 * torch.randn(4, 9, generator=generator, dtype=torch.float64)
    scores[0, 0] = torch.finfo(scores.dtype).min  # does not count
    ours, plain = (scores.clone().requires_grad_() for _ in range(2))
    log_sum, entropy = Candidates(ours, torch.arange(4), num_negatives=8).log_sum()
    expected = torch.logsumexp(plain, dim=1)
    assert_close(log_sum, expected)
    assert not entropy.requires_grad
    assert_close(entropy, torch.distributions.Categorical(logits=scores).entropy())
    weights = torch.arange(1.0, 5.0, dtype=torch.float64)
    (log_sum @ weights).backward()
    (expected @ weights).backward()
    assert_close(ours.grad, plain.grad)


def test_a_tie_is_not_best() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0]])
    best = Candidates(scores, torch.tensor([0, 0]), num_negatives=2).is_best()
    assert best.tolist() == [False, True]
