"""Subsets and held-out parts: stratified, by one constant seed, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.streams import permutation, stream_key

_SEED = 0
HELDOUT_SHARE = 0.1


def subset(split: Split, count: int | None) -> Split:
    """At most `count` images of the split in their old order, classes in proportion; None is all.

    Smaller subsets are not nested in larger ones where rounding moves a class's share. Of clips
    whole ones are taken, as many as `count` frames hold.

    Raises:
        UserError: not even one clip has so few frames.
    """
    if count is None or count >= len(split):
        return split
    if split.clip is None:
        return split[stratified(_strata(split), len(split), count, purpose="subset")]
    first, place, lengths = _clips(split.clip)
    strata = _strata(split[first])
    wanted = count * len(first) // len(split)
    for taken in range(wanted, 0, -1):  # fewer where clips differ in length
        chosen = stratified(strata, len(first), taken, purpose="subset")
        if int(lengths[chosen].sum()) <= count:
            return split[torch.isin(place, chosen)]
    raise UserError(
        f"{count} images hold no whole clip of {int(lengths.min())} frames or more; raise "
        "data.num_train or data.num_test."
    )


def left_out(split: Split, count: int | None, *, most: int) -> Split | None:
    """At most `most` of the images that `subset(split, count)` leaves, classes in proportion; None
    where it leaves none. Not of clips, whose frames are near copies of each other."""
    if count is None or count >= len(split) or split.clip is not None:
        return None
    taken = torch.zeros(len(split), dtype=torch.bool)
    taken[stratified(_strata(split), len(split), count, purpose="subset")] = True
    rest = split[~taken]
    if len(rest) <= most:
        return rest
    return rest[stratified(_strata(rest), len(rest), most, purpose="left out")]


def heldout(split: Split) -> Tensor:
    """Sorted int64 positions of a tenth of the training images, for choosing settings.

    Every class with at least two images gives at least one, so that choosing sees all classes.
    Of clips it is a tenth of them, whole: frames of one clip are near copies of each other.
    """
    if split.clip is None:
        return _tenth(_strata(split), len(split))
    first, place, _ = _clips(split.clip)
    return torch.isin(place, _tenth(_strata(split[first]), len(first))).nonzero().flatten()


def _tenth(strata: Tensor | None, length: int) -> Tensor:
    count = max(1, round(HELDOUT_SHARE * length)) if length > 1 else 0
    return stratified(strata, length, count, purpose="heldout", at_least_one=True)


def _strata(split: Split) -> Tensor | None:
    """int64 N, the class by which an image is chosen: its own; of several the one that is rarest
    in the split, so that no rare class is missed; none is a class too. None without any."""
    if split.labels is not None or split.multilabels is None:
        return split.labels
    classes = split.multilabels.shape[1]
    counts = torch.where(split.multilabels, split.multilabels.sum(0), len(split) + 1)
    rarest = counts.argmin(1) if classes else counts.sum(1)
    return torch.where(split.multilabels.any(1), rarest, classes)


def _clips(clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each of the clips, in the order of their numbers: the position of its first image, and
    how many images it has; between them, int64 N, the place in that order of each image's clip."""
    order = torch.argsort(clip, stable=True)
    begins = torch.ones(len(clip), dtype=torch.bool)
    begins[1:] = clip[order].diff() != 0
    place = torch.empty_like(clip)
    place[order] = begins.cumsum(0) - 1
    return order[begins], place, torch.bincount(place)


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
