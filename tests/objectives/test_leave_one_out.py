"""LooC's loss against a plain version written from its description."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sslbench.objectives.leave_one_out import LeaveOneOutLoss, leave_one_out
from sslbench.objectives.queue import Queue
from sslbench.recipes.specs import LeaveOneOut

N, S, D, K = 5, 3, 4, 6
SPEC = LeaveOneOut(temperature=0.3, queue=K)


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.fixture
def given():
    query = unit(N, S, D, seed=0).requires_grad_()
    return query, unit(N, S, S, D, seed=1), [unit(K, D, seed=2 + i) for i in range(S)]


def plain(query, keys, queues, temperature):
    """Image by image, space by space: keys[n][j][i] is key j of image n in space i."""
    total = 0.0
    for n in range(N):
        for i in range(S):
            positive = torch.exp(query[n, i] @ keys[n, i, i] / temperature)
            others = [torch.exp(query[n, i] @ entry / temperature) for entry in queues[i]]
            if i > 0:
                others += [torch.exp(query[n, i] @ keys[n, j, i] / temperature)
                           for j in range(S) if j != i]  # fmt: skip
            total = total - torch.log(positive / (positive + sum(others)))
    return total / (N * S)


def test_the_loss_and_its_gradient_are_those_of_the_plain_version(given):
    query, keys, queues = given
    loss, _ = leave_one_out(SPEC, query, keys, queues)
    expected = plain(query, keys, queues, 0.3)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(x, query)[0] for x in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_other_keys_of_the_image_count_in_every_space_but_the_first(given):
    query, keys, queues = given
    before, _ = leave_one_out(SPEC, query, keys, queues)
    moved = keys.clone()
    moved[:, 1:, 0] = unit(N, S - 1, D, seed=9)  # keys 1, 2 in space 0
    assert torch.equal(leave_one_out(SPEC, query, moved, queues)[0], before)
    moved = keys.clone()
    moved[:, 0, 1] = -query.detach()[:, 1]  # key 0 in space 1, as far off as can be
    assert leave_one_out(SPEC, query, moved, queues)[0] < before


def test_of_a_queue_that_is_far_and_keys_alike_the_loss_is_known():
    """The keys of an image are one vector, its query's; the queue is opposite."""
    query = unit(N, 1, D, seed=0).expand(N, S, D)
    keys = query[:, None].expand(N, S, S, D)
    spec = LeaveOneOut(temperature=0.1, queue=1)
    one = query[:1], keys[:1], [-query[0, :1]] * S
    loss, metrics = leave_one_out(spec, *one)
    far = math.exp(-20)
    expected = (math.log(1 + far) + 2 * math.log(3 + far)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert metrics["augmentation_accuracy"] == 0  # none is above the others
    assert metrics["contrastive_accuracy"] == pytest.approx(100 / 3)
    assert metrics["positive_similarity"] == pytest.approx(1)


def test_keys_that_are_told_apart_count_as_such(given):
    query, keys, queues = given
    own = keys.clone()
    for i in range(S):
        own[:, i, i] = query.detach()[:, i]
    _, metrics = leave_one_out(SPEC, query, own, queues)
    assert metrics["augmentation_accuracy"] == metrics["contrastive_accuracy"] == 100


def test_each_queue_takes_the_keys_of_its_own_space():
    loss = LeaveOneOutLoss(SPEC, num_spaces=S, width=D, seed=0)
    before = [queue.get_buffer("entries").clone() for queue in loss.queues]
    assert not any(torch.equal(before[0], other) for other in before[1:])
    keys = unit(3, S, S, D, seed=1).float()
    loss.remember(keys)
    for i, queue in enumerate(loss.queues):
        assert isinstance(queue, Queue)
        torch.testing.assert_close(queue.entries[:3], keys[:, i, i])
        assert torch.equal(queue.entries[3:], before[i][3:])
