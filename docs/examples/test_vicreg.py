"""VICReg against a second, plain version written from the paper, in float64."""

from __future__ import annotations

import torch
from vicreg import VICReg, vicreg


def plain(a, b, invariance, variance, covariance):
    """The sums of the paper, one number at a time (Eq. 1 to 6; means as in the authors' code)."""
    n, d = a.shape
    alike = sum((a[i, k] - b[i, k]) ** 2 for i in range(n) for k in range(d)) / (n * d)
    spread = shared = 0.0
    for z in (a, b):
        z = [[z[i, k] - sum(z[:, k]) / n for k in range(d)] for i in range(n)]
        c = [[sum(r[j] * r[k] for r in z) / (n - 1) for k in range(d)] for j in range(d)]
        hinges = [1 - torch.sqrt(c[k][k] + 1e-4) for k in range(d)]
        spread += sum(h for h in hinges if h > 0) / d / 2
        shared += sum(c[j][k] ** 2 for j in range(d) for k in range(d) if j != k) / d
    return invariance * alike + variance * spread + covariance * shared


def test_value_and_gradient_are_the_papers():
    torch.manual_seed(0)
    a, b = (torch.randn(6, 4, dtype=torch.float64).mul_(0.9).requires_grad_() for _ in range(2))
    ours, _ = vicreg(VICReg(invariance=3.0, variance=2.0, covariance=0.5), [a, b], [a, b])
    theirs = plain(a, b, 3.0, 2.0, 0.5)
    torch.testing.assert_close(ours, theirs)
    grads = (torch.autograd.grad(loss, (a, b)) for loss in (ours, theirs))
    for mine, other in zip(*grads, strict=True):
        torch.testing.assert_close(mine, other)


def test_a_constant_output_pays_for_its_variance():
    same = torch.ones(8, 4)
    loss, metrics = vicreg(VICReg(), [same, same], [same, same])
    assert metrics["invariance"] == 0 and loss > 24
