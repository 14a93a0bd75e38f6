"""Subsets and held-out parts: stratified, by one constant seed, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.data.dataset import Split
from sslbench.streams import permutation, stream_key

_SEED = 0
HELDOUT_SHARE = 0.1


def subset(split: Split, count: int | None) -> Split:
    """At most `count` images of the split in their old order, classes in proportion; None is all.

    Smaller subsets are not nested in larger ones where rounding moves a class's share.
    """
    if count is None or count >= len(split):
        return split
    return split[stratified(split.labels, len(split), count, purpose="subset")]


def heldout(labels: Tensor | None, length: int) -> Tensor:
    """Sorted int64 positions of a tenth of the training images, for choosing settings.

    Every class with at least two images gives at least one, so that choosing sees all classes.
    """
    count = max(1, round(HELDOUT_SHARE * length)) if length > 1 else 0
    return stratified(labels, length, count, purpose="heldout", at_least_one=True)


def stratified(
    labels: Tensor | None, length: int, count: int, *, purpose: str, at_least_one: bool = False
) -> Tensor:
    """Sorted int64 positions of `count` of `length` images, classes in proportion.

    Without labels all images are one class. `at_least_one` takes one image of every class that
    has two or more, which can make the result longer than `count`.
    """
    if labels is None:
        labels = torch.zeros(length, dtype=torch.int64)
    order = permutation(stream_key(_SEED, f"data {purpose}", length), length)
    sizes = torch.bincount(labels)
    takes = _shares(sizes, count)
    if at_least_one:
        takes = torch.maximum(takes, (sizes >= 2).long())
    by_class = order[torch.argsort(labels[order], stable=True)]  # random within a class
    starts = sizes.cumsum(0) - sizes
    place = torch.arange(length) - starts.repeat_interleave(sizes)  # position within its class
    return by_class[place < takes.repeat_interleave(sizes)].sort().values


def _shares(sizes: Tensor, count: int) -> Tensor:
    """Whole numbers near count * sizes / sum, which sum to count, by largest remainder."""
    total = int(sizes.sum())
    exact = sizes * count  # whole numbers, over `total`
    takes = exact // total
    missing = count - int(takes.sum())
    largest = torch.argsort(exact % total, descending=True, stable=True)[:missing]
    takes[largest] += 1
    return takes
