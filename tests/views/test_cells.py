"""Cells of a view's map lie where its pixels come from."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.batch import ViewBatch
from sslbench.recipes.specs import Crop, View, Views
from sslbench.views import Augmenter
from sslbench.views.cells import cell_centres, cell_diagonals, cell_distances, overlapping_share
from tests.reference.dense import corners, near

SIDE = 64
PLAIN = {"jitter": None, "grayscale": 0.0, "blur": None}


def placed(count: int = 6, *, seed: int = 0) -> ViewBatch:
    """Boxes anywhere in an image, half of them mirrored."""
    generator = torch.Generator().manual_seed(seed)
    size = 8 + (SIDE - 8) * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    start = (SIDE - size) * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    box = torch.cat([start, size], dim=1)
    return ViewBatch(torch.empty(count, 3, 8, 8), box, torch.arange(count) % 2 == 0)


@pytest.mark.parametrize("common", [None, View(crop=Crop(scale=(0.5, 0.9)), flip=0.5, **PLAIN)])
@pytest.mark.parametrize("size", [32, 64])
def test_a_cell_shows_what_lies_around_its_centre(common, size) -> None:
    """Of an image whose pixels say their place a cell's mean is its centre."""
    place = torch.arange(SIDE, dtype=torch.uint8) * 4
    image = torch.stack(
        [place[:, None].expand(-1, SIDE), place.expand(SIDE, -1), torch.zeros(SIDE, SIDE)]
    ).to(torch.uint8)
    view = View(crop=Crop(scale=(0.3, 1.0)), size=size, **PLAIN)
    augmenter = Augmenter(
        Views(first=view, common=common), resolution=SIDE, mean=(0, 0, 0), std=(1, 1, 1)
    )
    batch = augmenter(image.expand(24, -1, -1, -1), key=3, samples=torch.arange(24))
    assert 0 < batch[0].flipped.sum() < 24
    for found in batch:
        cells = torch.nn.functional.adaptive_avg_pool2d(found.images[:, :2], 4)
        seen = cells * 255 / 4 + 0.5  # the centre of pixel k lies at k + 0.5
        centres = cell_centres(found, (4, 4))
        # At the border the resampling has fewer pixels to weigh.
        assert_close(seen.flatten(2).transpose(1, 2), centres, rtol=0, atol=0.6)


@pytest.mark.parametrize("shapes", [((4, 4), (4, 4)), ((2, 3), (5, 2))])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 1.0])
def test_near_cells_are_those_of_the_authors_form(shapes, threshold) -> None:
    first, second = placed(), placed(seed=1)
    found = cell_distances(first, second, *shapes) < threshold
    for i in range(6):
        ends = [
            corners(tuple(v.box[i].tolist()), bool(v.flipped[i]), SIDE) for v in (first, second)
        ]
        assert found[i].tolist() == near(*ends, shapes, threshold)
    assert 0 < found.sum() < found.numel()


def test_distances_are_in_diagonals_of_the_coarser_cells() -> None:
    box = torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    still = torch.zeros(1, dtype=torch.bool)
    fine, coarse = (ViewBatch(torch.empty(0), b, still) for b in (box, box * 2))
    assert_close(cell_diagonals(fine, (4, 4)), torch.tensor([8 * 2**0.5]))
    distances = cell_distances(fine, coarse, (4, 4), (4, 4))
    there = cell_distances(coarse, fine, (4, 4), (4, 4))
    assert_close(distances, there.transpose(1, 2))
    assert_close(distances[0, 0, 0], torch.tensor(4 * 2**0.5 / (16 * 2**0.5)))


def test_a_mirrored_view_has_its_columns_from_right_to_left() -> None:
    box = torch.tensor([[2.0, 4.0, 8.0, 16.0]] * 2)
    view = ViewBatch(torch.empty(0), box, torch.tensor([False, True]))
    plain, mirrored = cell_centres(view, (2, 4)).view(2, 2, 4, 2)
    assert_close(plain[0], torch.tensor([[4.0, 6], [4, 10], [4, 14], [4, 18]]))
    assert_close(mirrored, plain.flip(1))


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [((1.0, 1.0), 1.0, 1.0), ((0.4, 1.0), 0.99, 1.0), ((0.08, 1.0), 0.8, 1.0),
     ((0.02, 0.02), 0.0, 0.3)],
)  # fmt: skip
def test_small_crops_seldom_meet(scale, low, high) -> None:
    views = Views(first=View(crop=Crop(scale=scale)))
    share = overlapping_share(views, resolution=SIDE)
    assert low <= share <= high
    assert share == overlapping_share(views, resolution=SIDE)


def test_a_view_without_crop_meets_every_other() -> None:
    views = Views(first=View(crop=None), second=View(crop=Crop(scale=(0.02, 0.02))))
    assert overlapping_share(views, resolution=SIDE) == 1.0


def test_the_share_is_that_of_the_views_themselves() -> None:
    views = Views(first=View(crop=Crop(scale=(0.05, 0.1)), **PLAIN))
    augmenter = Augmenter(views, resolution=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
    images = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8).expand(512, -1, -1, -1)
    boxes = [view.box for view in augmenter(images, key=0, samples=torch.arange(512))]
    start = torch.maximum(boxes[0][:, :2], boxes[1][:, :2])
    end = torch.minimum(boxes[0][:, :2] + boxes[0][:, 2:], boxes[1][:, :2] + boxes[1][:, 2:])
    share = (start < end).all(dim=1).float().mean().item()
    assert overlapping_share(views, resolution=SIDE) == pytest.approx(share, abs=0.08)
