from __future__ import annotations

import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.models import build_encoder
from sslbench.recipes.specs import ColorHistogram, RawPixels

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def images(seed: int = 0) -> Tensor:
    """4×3×6×6 whole grey levels in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (4, 3, 6, 6), generator=generator) / 255


def normalized(x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_raw_pixels_are_the_flattened_image() -> None:
    x = images()
    encoder = build_encoder(RawPixels(), resolution=6)
    assert torch.equal(encoder(x), x.flatten(1))
    assert not list(encoder.parameters())


def test_a_histogram_is_a_distribution() -> None:
    rows = build_encoder(ColorHistogram(bins=2), resolution=6)(images())
    assert_close(rows.sum(dim=1), torch.ones(4))
    assert (rows >= 0).all()


def test_a_plain_colour_fills_one_cell_and_another_colour_another() -> None:
    encoder = build_encoder(ColorHistogram(bins=4), resolution=6)
    red = torch.zeros(1, 3, 6, 6)
    red[:, 0] = 1
    white = torch.ones(1, 3, 6, 6)
    assert encoder(red)[0, 3 * 16] == 1
    assert encoder(white)[0, 63] == 1
    assert encoder(torch.zeros(1, 3, 6, 6))[0, 0] == 1


def test_bins_are_equal_ranges_of_grey_levels() -> None:
    encoder = build_encoder(ColorHistogram(bins=4), resolution=16)
    ramp = (torch.arange(256).view(1, 1, 16, 16) / 255).expand(1, 3, 16, 16)
    assert_close(encoder(ramp)[0, [0, 21, 42, 63]], torch.full((4,), 0.25))


def test_the_place_of_a_pixel_does_not_matter() -> None:
    encoder = build_encoder(ColorHistogram(bins=3), resolution=6)
    x = images()
    shuffled = x.flatten(2)[:, :, torch.randperm(36)].view_as(x)
    assert torch.equal(encoder(x), encoder(shuffled))


def test_normalisation_is_undone_exactly() -> None:
    plain = build_encoder(ColorHistogram(bins=5), resolution=6)
    undoing = build_encoder(ColorHistogram(bins=5), resolution=6, mean=MEAN, std=STD)
    assert torch.equal(plain(images()), undoing(normalized(images())))
    assert not torch.equal(plain(images()), plain(normalized(images())))


def test_the_data_s_statistics_are_not_part_of_a_checkpoint() -> None:
    assert not build_encoder(ColorHistogram(), resolution=6, mean=MEAN, std=STD).state_dict()
