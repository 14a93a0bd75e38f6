from __future__ import annotations

import pytest
import torch

from sslbench.data import Split
from sslbench.data.subsets import heldout, stratified, subset


def split(sizes: list[int]) -> Split:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Split(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), labels)


def test_a_subset_keeps_the_classes_proportions() -> None:
    part = subset(split([600, 300, 100]), 100)
    assert part.labels is not None
    assert part.labels.bincount().tolist() == [60, 30, 10]


@pytest.mark.parametrize("count", [1, 2, 7, 99])
def test_a_subset_has_exactly_the_size_asked_for(count: int) -> None:
    assert len(subset(split([50, 31, 19]), count)) == count


def test_the_same_subset_every_time_in_the_old_order() -> None:
    labels = torch.arange(100) % 3
    first, second = (stratified(labels, 100, 30, purpose="subset") for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, first.sort().values)


def test_a_subset_is_not_the_beginning() -> None:
    positions = stratified(torch.zeros(1000, dtype=torch.int64), 1000, 100, purpose="subset")
    assert int(positions.max()) > 500


def test_all_is_all() -> None:
    whole = split([3, 4])
    assert subset(whole, None) is whole
    assert subset(whole, 7) is whole
    assert subset(whole, 8) is whole


def test_heldout_is_a_tenth_of_every_class() -> None:
    labels = torch.arange(1000) % 4
    positions = heldout(labels, 1000)
    assert labels[positions].bincount().tolist() == [25, 25, 25, 25]
    assert positions.dtype == torch.int64


def test_heldout_sees_rare_classes_and_leaves_one_of_each_to_train_on() -> None:
    labels = torch.tensor([0] * 50 + [1] * 2 + [2])
    positions = heldout(labels, 53)
    assert set(labels[positions].tolist()) == {0, 1}
    kept = torch.ones(53, dtype=torch.bool)
    kept[positions] = False
    assert set(labels[kept].tolist()) == {0, 1, 2}


def test_heldout_without_labels() -> None:
    assert len(heldout(None, 40)) == 4
    assert len(heldout(None, 1)) == 0


def test_a_split_is_indexed_with_all_that_belongs_to_it() -> None:
    whole = split([3, 4])
    part = whole[torch.tensor([0, 6])]
    assert part.labels is not None and part.labels.tolist() == [0, 1]
    assert part.masks is None and len(part) == 2
