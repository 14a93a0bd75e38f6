"""Which patches are hidden: exact counts, every image for itself, and the papers' distributions."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench import streams
from sslbench.errors import UserError
from sslbench.recipes.specs import Mask
from sslbench.views.masks import hidden_patches
from tests.reference.masks import blocks

KINDS = [
    Mask(sampling="random", ratio=0.75),
    Mask(sampling="block", ratio=0.4),
    Mask(sampling="grid"),
]
SAMPLES = torch.arange(500)


def hide(spec: Mask, *, side: int = 8, patch: int = 4, key: int = 3, samples=SAMPLES):
    return hidden_patches(spec, side=side, patch=patch, key=key, samples=samples)


@pytest.mark.parametrize("sampling", ["random", "block"])
@pytest.mark.parametrize(
    ("ratio", "side", "hidden"),
    [(0.75, 8, 48), (0.4, 8, 26), (75 / 196, 14, 75), (0.6, 7, 30), (0.1, 14, 20), (0.9, 8, 58)],
)
def test_every_image_hides_exactly_as_many(sampling, ratio, side, hidden):
    if (sampling, ratio) == ("block", 0.9):
        side, hidden = 14, 177
    found = hide(Mask(sampling=sampling, ratio=ratio), side=side)
    assert found.shape == (500, side**2) and found.dtype == torch.bool
    assert set(found.sum(dim=1).tolist()) == {hidden}


@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
def test_a_ratio_that_binary_numbers_cannot_hold_hides_the_decimal_share(ratio):
    assert hide(Mask(ratio=ratio), side=10).sum(dim=1).unique().tolist() == [round(100 * ratio)]


@pytest.mark.parametrize("spec", KINDS[:2])
def test_an_image_has_a_mask_of_its_own_that_its_place_and_the_step_decide(spec):
    whole = hide(spec)
    assert len(whole.unique(dim=0)) > 450
    assert torch.equal(hide(spec, samples=SAMPLES[250:]), whole[250:])  # the second process
    assert torch.equal(hide(spec), whole)
    assert not torch.equal(hide(spec, key=4), whole)


def test_a_random_mask_hides_every_patch_and_pair_equally_often():
    hidden = hide(Mask(ratio=0.75), side=4, samples=torch.arange(40_000)).double()
    share = hidden.mean(dim=0)
    assert torch.allclose(share, torch.full_like(share, 0.75), atol=4 * math.sqrt(0.1875 / 40_000))
    pairs = hidden.T @ hidden / 40_000
    expected = torch.full_like(pairs, 12 / 16 * 11 / 15).fill_diagonal_(0.75)
    assert torch.allclose(pairs, expected, atol=5 * 0.5 / 200)


def test_a_random_mask_hides_the_patches_with_the_most_noise():
    noise = streams.uniform(3, SAMPLES, 64)
    hidden = hide(Mask(ratio=0.75))
    for row, numbers in zip(hidden.tolist(), noise.tolist(), strict=True):
        ranked = sorted(range(64), key=numbers.__getitem__)
        assert sorted(ranked[:48]) == [i for i, there in enumerate(row) if there]


def test_a_grid_leaves_the_first_of_each_2x2():
    rows = hide(Mask(sampling="grid"), side=4).view(-1, 4, 4)
    visible = [(r, c) for r, c in (~rows[0]).nonzero().tolist()]
    assert visible == [(0, 0), (0, 2), (2, 0), (2, 2)]
    assert (rows == rows[0]).all()


@pytest.mark.parametrize(
    ("side", "ratio"), [(14, 75 / 196), (14, 0.4), (8, 0.75), (4, 0.4), (7, 0.9)]
)
def test_blocks_are_those_of_the_plain_algorithm(side, ratio):
    units, spec = side**2, Mask(sampling="block", ratio=ratio)
    target = units - math.floor(units * (1 - ratio) + 1e-6)
    draws = streams.uniform(3, SAMPLES, units + 4 * 64).tolist()
    found, short = hide(spec, side=side).view(-1, side, side).tolist(), 0
    for hidden, numbers in zip(found, draws, strict=True):
        plain, _ = blocks(iter(numbers[units:]), side=side, hide=target,
                          least=max(1, round(16 / 196 * units)), attempts=64)  # fmt: skip
        blocked = [r * side + c for r in range(side) for c in range(side) if plain[r][c]]
        rest = [u for u in range(units) if u not in blocked]
        topped = sorted(rest, key=numbers.__getitem__)[: target - len(blocked)]
        assert [h for row in hidden for h in row] == [
            u in {*blocked, *topped} for u in range(units)
        ]
        short += bool(topped)
    assert short < len(found)


@pytest.mark.parametrize(("side", "ratio"), [(14, 75 / 196), (14, 0.75), (8, 0.75)])
def test_64_attempts_are_as_many_as_an_image_needs(side, ratio):
    units = side**2
    numbers = streams.uniform(9, torch.arange(300), 4 * 64).tolist()
    made = [
        blocks(iter(row), side=side, hide=units - math.floor(units * (1 - ratio) + 1e-6),
               least=max(1, round(16 / 196 * units)), attempts=64)[1]
        for row in numbers
    ]  # fmt: skip
    assert max(made) < 64


def test_hidden_blocks_lie_together_where_random_patches_do_not():
    def neighbours(spec):
        grid = hide(spec, side=14).view(-1, 14, 14)
        return float((grid[:, 1:] & grid[:, :-1]).sum() / grid[:, 1:].sum())

    assert neighbours(Mask(sampling="block", ratio=0.4)) > 0.7
    assert neighbours(Mask(sampling="random", ratio=0.4)) < 0.45


@pytest.mark.parametrize("sampling", ["random", "block", "grid"])
def test_a_unit_hides_whole_squares_of_patches(sampling):
    spec = Mask(sampling=sampling, ratio=0.75, unit=8)
    hidden = hide(spec, side=8, patch=2)  # 4×4 units of 4×4 patches
    squares = hidden.view(-1, 2, 4, 2, 4).transpose(2, 3).flatten(3)
    assert (squares.all(dim=3) | ~squares.any(dim=3)).all()
    assert set(hidden.sum(dim=1).tolist()) == {48}
    coarse = hide(Mask(sampling=sampling, ratio=0.75), side=2, patch=8)
    assert torch.equal(squares.any(dim=3).flatten(1), coarse)


@pytest.mark.parametrize(
    ("changes", "size", "patch", "says"),
    [
        ({"ratio": 0.99}, 32, 4, "leaves none of the 64 squares visible; set mask.ratio"),
        ({"ratio": 0.75, "unit": 32}, 32, 4, "leaves none of the 1 squares visible.*mask.unit"),
        ({"sampling": "grid"}, 28, 4, "even number of patches a side, and a view of 28.* has 7"),
        ({"sampling": "grid", "ratio": 0.5}, 32, 4, "three of each four patches.*mask.ratio=0.75"),
        ({"sampling": "block", "ratio": 0.05}, 224, 16, r"at least 16 of 196 patches.* hides 10"),
        ({"unit": 12}, 32, 4, "12 pixels does not divide a view of 32; set mask.unit=4"),
        ({"ratio": 1.0}, 32, 4, "between 0 and 1"),
        ({"unit": 0}, 32, 4, "mask.unit is a side in pixels, >= 1"),
    ],
)  # fmt: skip
def test_a_mask_that_cannot_be_is_refused_in_a_sentence(changes, size, patch, says):
    with pytest.raises(UserError, match=says):
        Mask(**changes).require_fit(size, patch=patch)
