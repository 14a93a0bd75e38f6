from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.objectives import Bank
from tests.reference import objectives as reference


def test_starts_as_unit_vectors_of_the_seed() -> None:
    bank, again, other = (Bank(6, 4, momentum=0.5, seed=seed) for seed in (0, 0, 1))
    assert_close(bank.entries.norm(dim=1), torch.ones(6))
    assert torch.equal(bank.entries, again.entries)
    assert not torch.equal(bank.entries, other.entries)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_a_row_moves_towards_its_embedding_and_others_stay(momentum: float) -> None:
    bank = Bank(6, 4, momentum=momentum, seed=0)
    before = bank.entries.clone()
    indices, embeddings = torch.tensor([4, 1]), 3 * torch.randn(2, 4)
    bank.update(indices, embeddings)
    for place, row in zip(indices, embeddings, strict=True):
        expected = reference.bank_update(before[place].double(), row.double(), momentum)
        assert_close(bank.entries[place], expected.float())
    others = [0, 2, 3, 5]
    assert torch.equal(bank.entries[others], before[others])


def test_no_gradient_reaches_the_rows_and_half_precision_is_kept_in_float32() -> None:
    bank = Bank(4, 3, momentum=0.5, seed=0)
    bank.update(torch.tensor([2]), torch.randn(1, 3, requires_grad=True).bfloat16())
    assert not bank.entries.requires_grad
    assert not list(bank.parameters())
    assert bank.entries.dtype == torch.float32
    assert_close(bank.entries.norm(dim=1), torch.ones(4))


def test_a_saved_bank_continues_as_it_was() -> None:
    bank, copy = (Bank(4, 3, momentum=0.5, seed=seed) for seed in (0, 1))
    bank.update(torch.tensor([2, 0]), torch.randn(2, 3))
    copy.load_state_dict(bank.state_dict())
    assert torch.equal(bank.entries, copy.entries)
