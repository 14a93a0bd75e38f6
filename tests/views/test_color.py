"""Colour operations give torchvision's pixels, and its distribution of factors and orders."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy import stats
from torchvision.transforms import ColorJitter
from torchvision.transforms.v2 import functional as tv

from sslbench.recipes.specs import Jitter
from sslbench.views import color

ORDERS = list(itertools.permutations(range(4)))
OPERATIONS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def positions_of(orders: list[tuple[int, ...]]) -> torch.Tensor:
    return torch.tensor(orders).argsort(dim=1)


def reference(image, factors, order, operations=range(4)):
    for operation in order:
        if operation in operations:
            image = OPERATIONS[operation](image, factors[operation].item())
    return image


def test_jitter_gives_torchvisions_pixels_in_all_24_orders_at_once():
    images = draw(24, 3, 12, 10)
    factors = color.jitter_factors(draw(24, 4, seed=1), Jitter())
    ours = color.color_jitter(images, factors, positions_of(ORDERS))
    theirs = torch.stack([reference(*each) for each in zip(images, factors, ORDERS, strict=True)])
    # A rounding before the hue can move a nearly grey pixel further than itself.
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)
    assert (ours - theirs).abs().mean() < 1e-6


@pytest.mark.parametrize("order", ORDERS[::7])
def test_jitter_of_one_image_is_that_image_of_the_batch(order):
    images = draw(24, 3, 8, 8)
    factors = color.jitter_factors(draw(24, 4, seed=1), Jitter())
    row = ORDERS.index(order)
    batch = color.color_jitter(images, factors, positions_of(ORDERS))
    alone = color.color_jitter(images[row : row + 1], factors[row : row + 1], positions_of([order]))
    torch.testing.assert_close(alone, batch[row : row + 1], atol=1e-5, rtol=0)


def test_without_hue_the_other_three_keep_their_order():
    images = draw(24, 3, 8, 8)
    factors = color.jitter_factors(draw(24, 4, seed=1), Jitter())
    ours = color.color_jitter(images, factors, positions_of(ORDERS), has_hue=False)
    for image, factor, order, got in zip(images, factors, ORDERS, ours, strict=True):
        torch.testing.assert_close(got, reference(image, factor, order, range(3)))


def test_neutral_factors_change_nothing_but_rounding():
    images = draw(24, 3, 8, 8)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(24, 4)
    same = color.color_jitter(images, neutral, positions_of(ORDERS))
    torch.testing.assert_close(same, images, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shift", [-0.5, -0.2, -1e-3, 0.0, 1e-3, 0.17, 0.5])
def test_hue_is_torchvisions(shift):
    levels = torch.linspace(0, 1, 6)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 12, 18)  # ties and greys
    for images in (cube, draw(2, 3, 16, 16)):
        ours = color.adjust_hue(images, torch.full((len(images),), shift))
        torch.testing.assert_close(ours, tv.adjust_hue(images, shift), atol=2e-6, rtol=0)


def test_grayscale_where_chosen_is_torchvisions():
    images, chosen = draw(4, 3, 8, 8), torch.tensor([True, False, True, False])
    ours = color.grayscale(images, chosen)
    theirs = tv.rgb_to_grayscale(images, num_output_channels=3)
    torch.testing.assert_close(ours[chosen], theirs[chosen], atol=1e-6, rtol=0)
    assert torch.equal(ours[~chosen], images[~chosen])


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_solarize_where_chosen_is_torchvisions(threshold):
    images, chosen = (draw(4, 3, 8, 8) * 8).round() / 8, torch.tensor([True, False, True, False])
    ours = color.solarize(images, chosen, threshold=threshold)
    assert torch.equal(ours[chosen], tv.solarize(images, threshold)[chosen])
    assert torch.equal(ours[~chosen], images[~chosen])


def test_orders_are_uniform_over_all_permutations():
    positions = color.jitter_positions(draw(24_000))
    assert torch.equal(positions.sort(1).values, torch.arange(4).expand(24_000, 4))
    codes = (positions * torch.tensor([64, 16, 4, 1])).sum(1)
    _, counts = codes.unique(return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_ends_of_the_unit_interval_give_permutations():
    positions = color.jitter_positions(torch.tensor([0.0, 1 - 2**-24]))
    assert positions.sort(1).values.tolist() == [[0, 1, 2, 3]] * 2


def test_factors_are_distributed_as_torchvisions():
    jitter = Jitter(brightness=0.4, contrast=1.0, saturation=0.2, hue=0.1)
    ours = color.jitter_factors(draw(3000, 4), jitter)
    theirs = ColorJitter(0.4, 1.0, 0.2, 0.1)
    torch.manual_seed(2)
    ranges = (theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue)
    rows = torch.tensor([ColorJitter.get_params(*ranges)[1:] for _ in range(3000)])
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], rows[:, column]).pvalue > 1e-3
