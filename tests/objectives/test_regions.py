"""The loss of matched boxes against a plain version."""

from __future__ import annotations

import torch

from sslbench.objectives.regions import region_consistency
from sslbench.recipes.specs import RegionConsistency

N, K, D = 4, 3, 5
GENERATOR = torch.Generator().manual_seed(0)
COUNTS = torch.tensor([[True] * 3, [True, False, True], [False] * 3, [False, True, False]])


def pairs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    made = [torch.randn(N, K, D, generator=GENERATOR, dtype=torch.float64) for _ in range(4)]
    return [made[0].requires_grad_(), made[1].requires_grad_()], made[2:]


def plain(online, target, scale):
    total = 0.0
    for here, there in ((0, 1), (1, 0)):
        for n in range(N):
            cosines = [
                online[here][n, k] @ target[there][n, k]
                / (online[here][n, k].norm() * target[there][n, k].norm())
                for k in range(K) if COUNTS[n, k]
            ]  # fmt: skip
            total = total + sum(cosines) / (len(cosines) + 1e-6)
    return -scale * total / (2 * N)


def test_the_loss_and_its_gradients_are_those_of_the_plain_version():
    online, target = pairs()
    loss, metrics = region_consistency(RegionConsistency(scale=4.0), online, target, COUNTS)
    expected = plain(online, target, 4.0)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, online), torch.autograd.grad(expected, online), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
        assert not ours[~COUNTS].any()
    assert metrics["images_with_boxes"] == 75


def test_boxes_that_agree_give_the_least_loss_and_none_gives_nothing():
    same = [torch.randn(N, K, D, generator=GENERATOR) for _ in range(2)]
    spec = RegionConsistency(scale=4.0)
    loss, _ = region_consistency(spec, same, same[::-1], torch.ones(N, K, dtype=torch.bool))
    torch.testing.assert_close(loss, torch.tensor(-4.0), atol=1e-4, rtol=0)
    loss, metrics = region_consistency(spec, same, same, torch.zeros(N, K, dtype=torch.bool))
    assert loss == 0 == metrics["images_with_boxes"]


def test_no_gradient_reaches_the_target():
    online, target = pairs()
    kept = [z.requires_grad_() for z in target]
    region_consistency(RegionConsistency(), online, kept, COUNTS)[0].backward()
    assert all(z.grad is None for z in kept)
