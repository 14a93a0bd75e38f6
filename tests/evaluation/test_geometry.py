from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.evaluation.geometry import alignment, tolerance, uniformity


def sphere(n: int, d: int, *, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_alignment_is_the_mean_powered_distance() -> None:
    x, y = sphere(20, 5), sphere(20, 5, seed=1)
    pairs = zip(x.double(), y.double(), strict=True)
    expected = [float((a - b).square().sum().sqrt()) ** 3 for a, b in pairs]
    assert alignment(x, y, power=3.0) == pytest.approx(sum(expected) / 20, rel=1e-6)


def test_alignment_is_zero_for_equal_directions_and_four_for_opposite() -> None:
    x = sphere(20, 5)
    assert alignment(x, 3 * x, power=2.0) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x, power=2.0) == pytest.approx(4)


@pytest.mark.parametrize("pairs", [4, 64, 2**22])
def test_uniformity_equals_a_loop_over_pairs_in_any_chunks(
    pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslbench.evaluation.geometry._PAIRS", pairs)
    z = sphere(23, 5)
    kernel = [math.exp(-2 * float((a - b).square().sum())) for a, b in combinations(z.double(), 2)]
    expected = math.log(sum(kernel) / len(kernel))
    assert uniformity(z, scale=2.0) == pytest.approx(expected, rel=1e-6)


def test_uniformity_is_zero_where_all_are_alike_and_minus_four_where_they_spread() -> None:
    assert uniformity(sphere(1, 8).expand(30, 8), scale=2.0) == pytest.approx(0, abs=1e-5)
    assert uniformity(sphere(500, 512), scale=2.0) == pytest.approx(-4, abs=0.05)


def test_tolerance_equals_a_loop_over_pairs_of_a_class() -> None:
    z, labels = sphere(30, 5), torch.arange(30) % 4
    pairs = combinations(range(30), 2)
    cosines = [float(z[i].double() @ z[j].double()) for i, j in pairs if labels[i] == labels[j]]
    assert tolerance(z, labels) == pytest.approx(sum(cosines) / len(cosines), rel=1e-5)


def test_tolerance_is_one_where_a_class_is_a_point() -> None:
    labels = torch.arange(30) % 4
    assert tolerance(sphere(4, 8)[labels], labels) == pytest.approx(1, abs=1e-6)
