from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.objectives.hog import hog
from sslbench.objectives.reconstruction import build_target
from sslbench.recipes.specs import HOG
from tests.reference import masked as reference


def images(count: int, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("patch", "cell", "bins"), [(4, 4, 9), (4, 2, 9), (8, 2, 5), (2, 1, 1)])
def test_is_the_plain_one_in_value_and_order(patch: int, cell: int, bins: int) -> None:
    x = images(2)
    target = build_target(HOG(bins=bins, cell=cell), patch=patch, seed=0)
    expected = [reference.hog(image, patch=patch, bins=bins, cell=cell) for image in x]
    assert target.outputs == 3 * bins * (patch // cell) ** 2
    assert_close(target(x), torch.tensor(expected, dtype=torch.float64))


def test_reads_images_that_are_not_square() -> None:
    x = images(1, 4, 8)
    ours = build_target(HOG(cell=2), patch=4, seed=0)(x)
    expected = reference.hog(x[0], patch=4, bins=9, cell=2)
    assert_close(ours[0], torch.tensor(expected, dtype=torch.float64))


def bins_of(pattern: Tensor) -> list[int]:
    """The bins that are filled, of an inner cell."""
    found = hog(pattern.expand(1, 3, 12, 12), bins=9, cell=4)[0, 0, :, 1, 1]
    places: list[int] = found.nonzero().flatten().tolist()
    return places


def test_edges_fall_into_the_bin_of_their_angle() -> None:
    ramp = torch.arange(12.0)
    assert bins_of(ramp.expand(12, 12)) == [4]  # changes from left to right: half of half a turn
    assert bins_of(-ramp.expand(12, 12)) == [4]  # unsigned
    assert bins_of(ramp[:, None].expand(12, 12)) == [0]
    assert bins_of(-ramp[:, None].expand(12, 12)) == [0]
    assert bins_of(ramp[:, None] + ramp) == [2]  # a quarter
    assert bins_of(ramp[:, None] - ramp) == [6]


def test_histograms_have_length_one_and_nothing_is_zero() -> None:
    found = hog(images(2), bins=9, cell=4)
    assert_close(found.norm(dim=2), torch.ones(2, 3, 2, 2, dtype=torch.float64))
    assert torch.equal(hog(torch.ones(1, 3, 8, 8), bins=9, cell=4), torch.zeros(1, 3, 9, 2, 2))


def test_contrast_and_brightness_do_not_matter() -> None:
    x = images(1)
    assert_close(hog(3 * x + 2, bins=9, cell=4), hog(x, bins=9, cell=4))
