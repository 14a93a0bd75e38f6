"""Blur, rotation, cutout, noise and Sobel against torchvision or their definition."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslbench.errors import UserError
from sslbench.views import filters

CHOSEN = torch.tensor([True, False, True, True, False])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def gaussian_blur(images, sigma, chosen, *, kernel):
    return filters.weighted_blur(images, filters.blur_taps(sigma, chosen, kernel=kernel))


@pytest.mark.parametrize(("kernel", "height", "width"), [(3, 16, 16), (9, 12, 20), (23, 13, 12)])
def test_blur_with_each_images_own_sigma_is_torchvisions(kernel, height, width):
    images, sigma = draw(5, 3, height, width), torch.tensor([0.1, 0.5, 0.7, 2.0, 1.0])
    ours = gaussian_blur(images, sigma, CHOSEN, kernel=kernel)
    for image, one_sigma, chosen, got in zip(images, sigma.tolist(), CHOSEN, ours, strict=True):
        expected = tv.gaussian_blur(image, [kernel, kernel], [one_sigma]) if chosen else image
        torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


def test_blur_of_one_image_is_that_image_of_the_batch():
    images, sigma = draw(5, 3, 16, 16), draw(5) + 0.1
    batch = gaussian_blur(images, sigma, CHOSEN, kernel=5)
    alone = gaussian_blur(images[2:3], sigma[2:3], CHOSEN[2:3], kernel=5)
    torch.testing.assert_close(alone, batch[2:3], atol=1e-6, rtol=0)


def test_blur_refuses_a_kernel_wider_than_its_mirror():
    with pytest.raises(UserError, match="blur kernel of 23"):
        gaussian_blur(draw(1, 3, 8, 8), torch.ones(1), CHOSEN[:1], kernel=23)


def test_the_kernel_is_the_odd_number_near_a_tenth_of_the_side():
    sides = {16: 3, 32: 3, 64: 7, 96: 9, 224: 23}
    assert {side: filters.blur_kernel_side(side) for side in sides} == sides


def test_rotation_is_by_quarter_turns_as_torchvisions():
    images, turns = draw(4, 3, 9, 9), torch.arange(4)
    ours = filters.rotate(images, turns)
    for image, turn, got in zip(images, turns.tolist(), ours, strict=True):
        torch.testing.assert_close(got, tv.rotate(image, 90.0 * turn))


def test_rotation_refuses_oblong_images():
    with pytest.raises(UserError, match="square"):
        filters.rotate(draw(1, 3, 8, 9), torch.zeros(1, dtype=torch.int64))


def test_cutout_erases_half_the_side_around_its_centre():
    images, fill = draw(2, 3, 16, 16), (0.1, 0.2, 0.3)
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.99]])  # inside, and over a corner
    ours = filters.cutout(images, centre, torch.tensor([True, True]), fill=fill)
    value = torch.tensor(fill).view(3, 1, 1)
    torch.testing.assert_close(ours[0], tv.erase(images[0], 4, 4, 8, 8, value))
    torch.testing.assert_close(ours[1], tv.erase(images[1], 0, 11, 4, 5, value))


def test_noise_is_added_and_clamped_where_chosen():
    images, noise = draw(5, 3, 8, 8), torch.randn(5, 3, 8, 8, generator=torch.Generator())
    ours = filters.gaussian_noise(images, noise, CHOSEN)
    expected = (images + filters.NOISE_STD * noise).clamp(0, 1)
    assert torch.equal(ours[CHOSEN], expected[CHOSEN])
    assert torch.equal(ours[~CHOSEN], images[~CHOSEN])


def test_sobel_of_a_step_is_one_at_the_step_and_zero_elsewhere():
    images = torch.zeros(2, 3, 8, 8)
    images[0, :, :, 4:] = 1.0  # a vertical edge
    images[1, :, 4:] = 1.0  # a horizontal one
    edges = filters.sobel(images, torch.tensor([True, True]))
    grey_one = 0.2989 + 0.587 + 0.114
    expected = torch.zeros(8)
    expected[3:5] = grey_one
    torch.testing.assert_close(edges[0], expected.expand(3, 8, 8))
    torch.testing.assert_close(edges[1], expected[:, None].expand(3, 8, 8))


@pytest.mark.parametrize("name", ["sobel", "cutout", "rotate", "blur"])
def test_images_that_are_not_chosen_pass_unchanged(name):
    images, none = draw(3, 3, 8, 8), torch.zeros(3, dtype=torch.bool)
    same = {
        "sobel": lambda: filters.sobel(images, none),
        "cutout": lambda: filters.cutout(images, draw(3, 2), none, fill=(0, 0, 0)),
        "rotate": lambda: filters.rotate(images, torch.zeros(3, dtype=torch.int64)),
        "blur": lambda: gaussian_blur(images, torch.ones(3), none, kernel=3),
    }[name]()
    assert torch.equal(same, images)
