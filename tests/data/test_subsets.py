from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.data import Split
from sslbench.data.subsets import heldout, left_out, stratified, subset
from sslbench.errors import UserError


def of(labels: Tensor | None, count: int = 0, **more: Tensor) -> Split:
    count = count if labels is None else len(labels)
    return Split(torch.zeros(count, 3, 2, 2, dtype=torch.uint8), labels, **more)


def split(sizes: list[int]) -> Split:
    return of(torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)))


def clips(lengths: list[int], labels: Tensor | None = None) -> Split:
    """Clips with these numbers of frames, numbered from 5, the second frame of each first."""
    clip = (5 + torch.arange(len(lengths))).repeat_interleave(torch.tensor(lengths))
    frame = torch.cat([torch.arange(n).roll(1) for n in lengths])
    return of(labels, len(clip), clip=clip, frame=frame)


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


def test_what_a_subset_leaves_out_is_the_rest_or_classes_in_proportion() -> None:
    whole = Split(torch.arange(100).view(-1, 1, 1, 1).repeat(1, 3, 2, 2).byte(),
                  torch.arange(100) % 4)  # fmt: skip
    taken, rest = subset(whole, 40), left_out(whole, 40, most=1000)
    assert rest is not None
    numbers = torch.cat([taken.images, rest.images])[:, 0, 0, 0]
    assert numbers.sort().values.tolist() == list(range(100))
    some = left_out(whole, 40, most=20)
    assert some is not None and some.labels is not None
    assert some.labels.bincount().tolist() == [5, 5, 5, 5]
    assert left_out(whole, None, most=20) is None and left_out(whole, 100, most=20) is None
    assert left_out(clips([4, 4, 4]), 8, most=20) is None


def test_heldout_is_a_tenth_of_every_class() -> None:
    labels = torch.arange(1000) % 4
    positions = heldout(of(labels))
    assert labels[positions].bincount().tolist() == [25, 25, 25, 25]
    assert positions.dtype == torch.int64


def test_heldout_sees_rare_classes_and_leaves_one_of_each_to_train_on() -> None:
    labels = torch.tensor([0] * 50 + [1] * 2 + [2])
    positions = heldout(of(labels))
    assert set(labels[positions].tolist()) == {0, 1}
    kept = torch.ones(53, dtype=torch.bool)
    kept[positions] = False
    assert set(labels[kept].tolist()) == {0, 1, 2}


def test_heldout_without_labels() -> None:
    assert len(heldout(of(None, 40))) == 4
    assert len(heldout(of(None, 1))) == 0


# --- several labels an image ------------------------------------------------------------------


def test_images_of_several_classes_count_for_the_rarest_of_them() -> None:
    found = torch.zeros(100, 3, dtype=torch.bool)
    found[:80, 0] = True  # in nearly every image
    found[60:80, 1] = True
    found[70:80, 2] = True  # only ever beside the others
    part = subset(of(None, 100, multilabels=found), 50).multilabels
    assert part is not None
    assert part.sum(0).tolist() == [40, 10, 5] and int((~part).all(1).sum()) == 10


def test_heldout_sees_every_class_that_is_rarest_somewhere() -> None:
    found = torch.zeros(100, 3, dtype=torch.bool)
    found[:, 0] = True
    found[[3, 50], 1] = True
    found[[7, 8], 2] = True
    assert found[heldout(of(None, 100, multilabels=found))].any(0).all()


# --- clips ------------------------------------------------------------------------------------


def test_a_limit_takes_whole_clips_in_their_old_order() -> None:
    whole = clips([4] * 10)
    part = subset(whole, 15)
    assert part.clip is not None and part.frame is not None
    assert len(part) == 12 and part.clip.unique(return_counts=True)[1].tolist() == [4, 4, 4]
    assert part.frame.tolist() == [3, 0, 1, 2] * 3
    assert torch.equal(part.clip, part.clip.sort().values)


def test_clips_of_unequal_length_stay_below_the_limit() -> None:
    for count in (5, 8, 14, 20):
        part = subset(clips([1, 2, 3, 4, 5, 6]), count)
        assert part.clip is not None
        lengths = part.clip.bincount()
        assert 0 < len(part) <= count
        assert all(n in (0, place - 4) for place, n in enumerate(lengths.tolist()))


def test_a_limit_below_one_clip_is_refused() -> None:
    with pytest.raises(UserError, match="3 images hold no whole clip of 4 frames or more; raise"):
        subset(clips([4, 5]), 3)


def test_clips_are_chosen_by_their_class() -> None:
    labels = torch.tensor([0, 0, 0, 1]).repeat_interleave(5 * 4)
    part = subset(clips([4] * 20, labels), 32)
    assert part.labels is not None and part.labels.bincount().tolist() == [24, 8]


def test_no_clip_is_half_held_out() -> None:
    whole = clips([8] * 30)
    assert whole.clip is not None
    positions = heldout(whole)
    assert len(positions) == 24
    kept = torch.ones(len(whole), dtype=torch.bool)
    kept[positions] = False
    assert not set(whole.clip[kept].tolist()) & set(whole.clip[positions].tolist())
