"""Boxes that two views both show: where they are drawn, and where each view has them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.batch import ViewBatch
from sslbench.recipes.specs import Crop, View, Views
from sslbench.streams import uniform
from sslbench.views import Augmenter
from sslbench.views.regions import comparable, in_view, object_boxes, overlap, random_boxes

AREA, RATIO = (0.04, 0.5), (0.5, 2.0)
N, K, SIDE = 64, 5, 48


def view(*boxes: tuple[float, ...], flipped: bool = False) -> ViewBatch:
    """Crops (top, left, height, width) of as many images."""
    count = len(boxes)
    return ViewBatch(
        torch.zeros(count, 3, 8, 8), torch.tensor(boxes, dtype=torch.float32),
        torch.full((count,), flipped),
    )  # fmt: skip


def places_of_images() -> Tensor:
    """Images whose pixels say where they are: red the column, green the row, from 0 to 1."""
    column = (torch.arange(SIDE) + 0.5) / SIDE
    image = torch.stack((column.expand(SIDE, SIDE), column[:, None].expand(SIDE, SIDE)))
    return torch.cat((image, torch.zeros(1, SIDE, SIDE))).expand(N, -1, -1, -1)


@pytest.fixture(scope="module")
def pair() -> list[ViewBatch]:
    plain = View(crop=Crop(scale=(0.02, 0.5)), jitter=None, grayscale=0.0, blur=None, size=32)
    augment = Augmenter(Views(first=plain), resolution=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
    return augment(places_of_images(), key=3, samples=torch.arange(N))


def drawn(shared: Tensor) -> Tensor:
    u = uniform(11, torch.arange(len(shared)), 4 * K).unflatten(1, (K, 4))
    return random_boxes(shared, u, area=AREA, ratio=RATIO)


def test_an_overlap_is_what_both_crops_hold():
    first = view((0, 0, 10, 10), (0, 0, 4, 4), (2, 3, 5, 6), flipped=True)
    second = view((2, 5, 20, 3), (4, 0, 4, 4), (2, 3, 5, 6))
    expected = torch.tensor([[5, 2, 8, 10], [0, 4, 4, 4], [3, 2, 9, 7]])
    assert torch.equal(overlap(first, second), expected.float())


def test_boxes_lie_in_the_overlap_with_the_areas_and_ratios_that_are_asked_for(pair):
    shared = overlap(*pair)
    boxes = drawn(shared)
    real = comparable(shared[:, None])[:, 0]
    assert 0.5 * N < real.sum() < N  # some views do not meet
    own, whole = boxes[real], shared[real][:, None]
    assert (own[..., :2] >= whole[..., :2] - 1e-4).all()
    assert (own[..., 2:] <= whole[..., 2:] + 1e-4).all()
    sides, room = own[..., 2:] - own[..., :2], whole[..., 2:] - whole[..., :2]
    share = sides.prod(2) / room.prod(2)
    assert share.min() >= 0.04 - 1e-4 and share.max() <= 0.5 + 1e-4
    assert share.min() < 0.08 and share.max() > 0.45
    ratio = sides[..., 0] / sides[..., 1]
    full = (sides >= room - 1e-3).any(2)  # as wide or high as the overlap: the ratio gives way
    assert ((ratio >= 0.5 - 1e-3) & (ratio <= 2 + 1e-3))[~full].all()
    assert not comparable(boxes[~real]).any()


def test_a_box_that_does_not_fit_keeps_its_area():
    within = torch.tensor([[0.0, 0.0, 100.0, 2.0]])
    u = torch.tensor([[[0.0, 0.5, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]]])
    boxes = random_boxes(within, u, area=AREA, ratio=RATIO)
    torch.testing.assert_close(boxes[0, 0], torch.tensor([0.0, 0.0, 4.0, 2.0]))
    torch.testing.assert_close(boxes[0, 1], torch.tensor([50.0, 0.0, 100.0, 2.0]))


def test_what_a_view_shows_in_a_box_is_what_lies_there_in_the_image(pair):
    """The middle pixel of the box in either view tells the box's own centre."""
    boxes = drawn(overlap(*pair))
    real = comparable(boxes)
    centre = (boxes[..., :2] + boxes[..., 2:]) / (2 * SIDE)
    for seen in pair:
        assert seen.flipped.any() and not seen.flipped.all()
        inside = in_view(boxes, seen)
        assert (inside >= 0).all() and (inside <= 1).all()
        at = (inside[..., :2] + inside[..., 2:]) - 1  # grid_sample's -1 to 1
        found = torch.nn.functional.grid_sample(
            seen.images[:, :2], at[:, None], align_corners=False, padding_mode="border"
        )
        found = found[:, :, 0].permute(0, 2, 1)
        error = (found - centre)[real].abs()
        assert error.max() < 1.0 / SIDE  # resampling near the borders costs part of a pixel
        assert error.mean() < 0.1 / SIDE


def test_a_mirrored_view_has_the_mirrored_box():
    boxes = torch.tensor([[[2.0, 1.0, 4.0, 3.0]]])
    plain, mirrored = (in_view(boxes, view((0, 0, 4, 8), flipped=f))[0, 0] for f in (False, True))
    assert plain.tolist() == [0.25, 0.25, 0.5, 0.75]
    assert mirrored.tolist() == [0.5, 0.25, 0.75, 0.75]


def test_what_cannot_be_compared_becomes_the_whole_view():
    nan = float("nan")
    boxes = torch.tensor([[[nan] * 4, [3.0, 1.0, 3.5, 6.0], [5.0, 5.0, 4.0, 6.0], [0, 0, 1, 1]]])
    assert comparable(boxes).tolist() == [[False, False, False, True]]
    inside = in_view(boxes, view((0, 0, 8, 8), flipped=True))
    assert inside[0, :3].tolist() == [[0.0, 0.0, 1.0, 1.0]] * 3


NAN = [float("nan")] * 4
OBJECTS = torch.tensor(
    [
        [[0.0, 0, 10, 10], [20, 20, 30, 40], [2, 2, 6, 6]],  # half, outside, inside
        [[0, 0, 11, 10], NAN, NAN],  # less than half
        [NAN, NAN, NAN],
    ]
)


def test_objects_are_cut_to_what_both_views_show_and_the_others_left_out():
    within = torch.tensor([[5.0, 0.0, 20.0, 20.0], [6.0, 0.0, 20.0, 20.0], [0.0, 0.0, 9.0, 9.0]])
    within[0, 0] = 2.0
    boxes = object_boxes(OBJECTS, within, torch.rand(3, 3), count=3)
    found = [sorted(b for b, ok in zip(i.tolist(), c.tolist(), strict=True) if ok)
             for i, c in zip(boxes, comparable(boxes), strict=True)]  # fmt: skip
    assert found == [[[2.0, 0, 10, 10], [2, 2, 6, 6]], [], []]
    within[0, 0] = 5.0  # of the first one half is left, of the third a quarter
    boxes = object_boxes(OBJECTS, within, torch.rand(3, 3), count=3)
    assert boxes[0][comparable(boxes)[0]].tolist() == [[5.0, 0, 10, 10]]


def test_of_many_objects_some_are_chosen_each_as_often():
    many = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 8.0, 8.0])
    boxes, within = many.expand(600, 6, 4), torch.tensor([0.0, 0, 99, 99]).expand(600, 4)
    chosen = object_boxes(boxes, within, uniform(5, torch.arange(600), 6), count=2)
    assert comparable(chosen).all() and not (chosen[:, 0] == chosen[:, 1]).all(1).any()
    counts = torch.bincount((chosen[..., 0] / 10).long().flatten(), minlength=6)
    assert counts.min() > 160 and counts.max() < 240
