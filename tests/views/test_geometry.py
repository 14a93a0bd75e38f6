"""Crops are torchvision's: the same pixels for a box, the same distribution of boxes."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from sslbench.recipes.specs import Crop
from sslbench.views import geometry

ALL_SIDES = ((32, 40, 32), (32, 32, 96), (64, 48, 17))  # height, width, output side


def draw(count: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def resample(images, boxes, flipped, *, side, interpolation="bilinear", crop=None):
    height, width = source = images.shape[-2:]
    largest = geometry.largest_box(crop, height=height, width=width) if crop else source
    return geometry.resample(images, *geometry.resampling(
        boxes, flipped, source=source, largest=largest, side=side, interpolation=interpolation,
    ))  # fmt: skip


@pytest.mark.parametrize(("height", "width", "side"), ALL_SIDES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_resized_crop_and_flip(height, width, side, interpolation):
    images = draw(12, 3 * height * width).view(12, 3, height, width)
    boxes = geometry.crop_boxes(draw(12, 22, 1), Crop(), height=height, width=width)
    flipped = torch.arange(12) % 2 == 1
    ours = resample(images, boxes, flipped, side=side, interpolation=interpolation)
    for image, box, flip, got in zip(images, boxes.int().tolist(), flipped, ours, strict=True):
        mode = tv.InterpolationMode(interpolation)
        expected = tv.resized_crop(image, *box, [side, side], mode, antialias=True)
        expected = tv.horizontal_flip(expected) if flip else expected
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [Crop(scale=(0.05, 0.14)), Crop(scale=(0.2, 0.5), ratio=(1, 3))])
def test_the_taps_of_the_largest_box_are_enough_for_every_box(crop, interpolation):
    images = draw(300, 3 * 48 * 40).view(300, 3, 48, 40)
    boxes = geometry.crop_boxes(draw(300, 22), crop, height=48, width=40)
    sizes = {"side": 11, "interpolation": interpolation}
    few = resample(images, boxes, None, crop=crop, **sizes)
    torch.testing.assert_close(few, resample(images, boxes, None, **sizes), atol=1e-6, rtol=0)


def test_bytes_are_read_as_they_are():
    images = (draw(4, 3 * 32 * 32).view(4, 3, 32, 32) * 255).to(torch.uint8)
    boxes = geometry.crop_boxes(draw(4, 22), Crop(), height=32, width=32)
    expected = resample(images / 255, boxes, None, side=20)
    torch.testing.assert_close(resample(images, boxes, None, side=20), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("crop", [Crop(), Crop(scale=(0.2, 1.0)), Crop(ratio=(0.3, 3.3))])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 64), (30, 90)])
def test_boxes_are_distributed_as_torchvisions(crop, height, width):
    ours = geometry.crop_boxes(draw(4000, 22), crop, height=height, width=width)
    image = torch.empty(3, height, width)
    torch.manual_seed(1)
    theirs = torch.tensor(
        [
            RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
            for _ in range(4000)
        ]
    )
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    area, aspect = (lambda b: b[:, 2] * b[:, 3]), (lambda b: b[:, 2] / b[:, 3])
    assert stats.ks_2samp(area(ours), area(theirs)).pvalue > 1e-3
    assert stats.ks_2samp(aspect(ours), aspect(theirs)).pvalue > 1e-3


def test_boxes_lie_inside_the_image_on_whole_pixels():
    u = torch.cat([draw(500, 22), torch.zeros(1, 22), torch.full((1, 22), 1 - 2**-24)])
    top, left, height, width = geometry.crop_boxes(u, Crop(), height=24, width=32).unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (height >= 1).all() and (width >= 1).all()
    assert (top + height <= 24).all() and (left + width <= 32).all()
    assert all(torch.equal(x, x.round()) for x in (top, left, height, width))


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10), (30, 31)])
def test_when_no_attempt_fits_the_central_box_is_torchvisions(height, width):
    # Aspects far outside the image's: all ten attempts are too wide (or too tall).
    crop = Crop(scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3))
    if (height, width) == (30, 31):
        crop = Crop(scale=(1.0, 1.0), ratio=(9.0, 9.5))
    ours = geometry.crop_boxes(draw(3, 22), crop, height=height, width=width)
    image = torch.empty(3, height, width)
    theirs = RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
    assert ours.tolist() == [list(map(float, theirs))] * 3


def test_a_full_box_at_the_same_side_is_the_identity():
    images = draw(2, 3 * 16 * 16).view(2, 3, 16, 16)
    boxes = geometry.full_boxes(2, (16, 16), images.device)
    assert boxes.tolist() == [[0.0, 0.0, 16.0, 16.0]] * 2
    for interpolation in ("bilinear", "bicubic"):
        same = resample(images, boxes, None, side=16, interpolation=interpolation)
        torch.testing.assert_close(same, images, atol=1e-6, rtol=0)


def test_a_crop_of_a_flipped_crop_is_traced_to_the_source():
    images = torch.arange(64.0).repeat(1, 3, 64, 1)  # every pixel holds its column
    outer = torch.tensor([[8.0, 16.0, 32.0, 32.0]])
    flipped = torch.tensor([True])
    cropped = resample(images, outer, flipped, side=16)
    inner = torch.tensor([[0.0, 2.0, 8.0, 4.0]])
    box = geometry.compose(outer, flipped, inner, side=(16, 16))
    assert box.tolist() == [[8.0, 36.0, 16.0, 8.0]]
    part = resample(cropped, inner, None, side=4)
    # The mean over the part is the middle of its source columns 36..43.
    assert part.mean().item() == pytest.approx(39.5, abs=1e-3)
