from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives import Queue


def test_starts_as_unit_vectors_of_the_seed() -> None:
    queue, again, other = Queue(6, 4, seed=0), Queue(6, 4, seed=0), Queue(6, 4, seed=1)
    assert_close(queue.entries.norm(dim=1), torch.ones(6))
    assert torch.equal(queue.entries, again.entries)
    assert not torch.equal(queue.entries, other.entries)
    assert len(torch.unique(queue.entries, dim=0)) == 6


def test_the_oldest_keys_leave_first() -> None:
    queue = Queue(6, 3, seed=0)
    start = queue.entries.clone()
    batches = [F.normalize(torch.randn(2, 3), dim=1) for _ in range(4)]
    for batch in batches[:2]:
        queue.enqueue(batch)
    assert_close(queue.entries, torch.cat([*batches[:2], start[4:]]))
    for batch in batches[2:]:
        queue.enqueue(batch)
    assert_close(queue.entries, torch.cat([batches[3], batches[1], batches[2]]))


def test_keys_enter_as_unit_vectors_unless_normalize_is_off() -> None:
    keys = torch.full((2, 4), 3.0)
    queue, raw = Queue(2, 4, seed=0), Queue(2, 4, seed=0, normalize=False)
    queue.enqueue(keys)
    raw.enqueue(keys)
    assert_close(queue.entries, torch.full((2, 4), 0.5))
    assert_close(raw.entries, keys)


def test_a_queue_of_one_batch_holds_the_last_batch() -> None:
    queue = Queue(2, 3, seed=0)
    for _ in range(3):
        keys = F.normalize(torch.randn(2, 3), dim=1)
        queue.enqueue(keys)
        assert_close(queue.entries, keys)


def test_no_gradient_reaches_the_keys() -> None:
    queue = Queue(4, 3, seed=0)
    queue.enqueue(torch.randn(2, 3, requires_grad=True))
    assert not queue.entries.requires_grad
    assert not list(queue.parameters())


def test_half_precision_keys_are_kept_in_float32() -> None:
    queue = Queue(4, 3, seed=0)
    queue.enqueue(torch.randn(2, 3).bfloat16())
    assert queue.entries.dtype == torch.float32
    assert_close(queue.entries.norm(dim=1), torch.ones(4))


def test_a_saved_queue_continues_at_its_place() -> None:
    queue, copy = Queue(4, 3, seed=0), Queue(4, 3, seed=1)
    queue.enqueue(torch.randn(2, 3))
    copy.load_state_dict(queue.state_dict())
    keys = torch.randn(2, 3)
    queue.enqueue(keys)
    copy.enqueue(keys)
    assert torch.equal(queue.entries, copy.entries)


@pytest.mark.parametrize("rows", [0, 3, 8])
def test_a_batch_that_does_not_divide_the_queue_is_refused(rows: int) -> None:
    with pytest.raises(UserError, match="multiple of the batch"):
        Queue(4, 3, seed=0).enqueue(torch.randn(rows, 3))
