"""How a target follows the online network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sslbench.methods.targets import ema_momentum, ema_update
from sslbench.recipes.specs import EMA


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.99, 1.0])
def test_the_target_moves_by_the_momentum(momentum):
    target, online = (list(nn.Linear(3, 2).parameters()) for _ in range(2))
    with torch.no_grad():
        for p in target:
            p.add_(1)
    before = [p.detach().clone() for p in target]
    ema_update(target, online, momentum)
    for new, old, source in zip(target, before, online, strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * source)
        if momentum in (0, 1):  # a copy, and a constant target, to the last bit
            assert torch.equal(new, source if momentum == 0 else old)
        assert new.grad_fn is None


def test_a_shared_target_needs_no_update():
    ema_update([], list(nn.Linear(3, 2).parameters()), 0.9)


def test_target_momentum_rises_to_one_by_cosine():
    spec = EMA(momentum=0.9, schedule="cosine")
    values = [float(ema_momentum(spec, k / 100)) for k in (0, 50, 100)]
    assert values == pytest.approx([0.9, 0.95, 1.0])


def test_constant_target_momentum_stays():
    assert ema_momentum(EMA(momentum=0.99), 0.7) == 0.99
