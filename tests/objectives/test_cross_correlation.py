from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.cross_correlation import cross_correlation
from sslbench.recipes.specs import CrossCorrelation
from tests.reference import objectives as reference

FORMS = ("correlation", "feature_norm", "covariance", "cross_entropy")


@pytest.fixture
def pair() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    ]


def paper(spec: CrossCorrelation, a: Tensor, b: Tensor) -> Tensor:
    """The form's loss from the loops of the reference."""
    if spec.form == "covariance":
        a, b = reference.centred(a), reference.centred(b)
    else:
        a, b = reference.standardized(a), reference.standardized(b)
    if spec.form == "feature_norm":
        a, b = (reference.centred(reference.scaled_rows(x)) for x in (a, b))
    matrix = reference.cross_matrix(a, b)
    if spec.form == "cross_entropy":
        return reference.barlow_cross_entropy(matrix, spec.off_diagonal_weight, spec.temperature)
    return reference.barlow_twins(matrix, spec.on_diagonal_weight, spec.off_diagonal_weight)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_equals_the_formula(form: str, weight: float, pair: list[Tensor]) -> None:
    spec = CrossCorrelation(form=form, off_diagonal_weight=weight, temperature=0.5, scale=2.0)
    loss, _ = cross_correlation(spec, pair, pair)
    theirs = 2 * paper(spec, *pair)
    assert_close(loss, theirs)
    assert_close(torch.autograd.grad(loss, pair), torch.autograd.grad(theirs, pair))


def test_equals_the_papers_pseudo_code_up_to_its_unbiased_deviation(pair: list[Tensor]) -> None:
    """Algorithm 1 divides by std(0), the unbiased one: C is smaller by (N - 1) / N."""
    a, b = pair
    c = ((a - a.mean(0)) / a.std(0)).T @ ((b - b.mean(0)) / b.std(0)) / 7 * (7 / 6)
    off = (c - torch.eye(4)).pow(2)
    off[~torch.eye(4, dtype=torch.bool)] *= 5e-3
    loss, _ = cross_correlation(CrossCorrelation(), pair, pair)
    assert_close(loss, off.sum(), rtol=1e-4, atol=1e-4)  # our variances carry batch norm's 1e-5


def test_identical_views_have_a_diagonal_of_one(pair: list[Tensor]) -> None:
    z = pair[0]
    spec = CrossCorrelation(off_diagonal_weight=0)
    loss, metrics = cross_correlation(spec, [z, z], [z, z])
    assert loss.item() == pytest.approx(0, abs=1e-8)
    assert metrics["correlation_diagonal"].item() == pytest.approx(1, abs=1e-4)


def test_decorrelated_identical_views_reach_zero() -> None:
    signs = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    z = torch.tensor(signs, dtype=torch.float64)
    loss, metrics = cross_correlation(CrossCorrelation(off_diagonal_weight=1), [z, z], [z, z])
    assert loss.item() == pytest.approx(0, abs=1e-8)
    assert metrics["correlation_off_diagonal"].item() == pytest.approx(0, abs=1e-8)


def test_collapsed_features_cost_the_whole_diagonal_and_stay_finite() -> None:
    z = torch.ones(4, 3, requires_grad=True)
    loss, _ = cross_correlation(CrossCorrelation(), [z, z], [z, z])
    loss.backward()
    assert loss.item() == pytest.approx(3)
    assert z.grad is not None and z.grad.isfinite().all()


def test_each_weight_switches_one_term(pair: list[Tensor]) -> None:
    both = CrossCorrelation(on_diagonal_weight=1, off_diagonal_weight=0.1)
    losses = [
        cross_correlation(both.but(changes), pair, pair)[0]
        for changes in ({}, {"off_diagonal_weight": 0}, {"on_diagonal_weight": 0})
    ]
    assert_close(losses[0], losses[1] + losses[2])


@pytest.mark.parametrize("form", FORMS)
def test_swapping_the_views_changes_nothing(form: str, pair: list[Tensor]) -> None:
    a, b = pair
    spec = CrossCorrelation(form=form)
    assert_close(cross_correlation(spec, [a, b], [a, b]), cross_correlation(spec, [b, a], [b, a]))


def test_correlation_ignores_scale_and_offset_of_a_feature_and_covariance_does_not(
    pair: list[Tensor],
) -> None:
    moved = [x.detach() * torch.tensor([5.0, 2.0, 9.0, 3.0]) + 4 for x in pair]
    same = CrossCorrelation()
    assert_close(
        cross_correlation(same, pair, pair)[0], cross_correlation(same, moved, moved)[0],
        rtol=1e-4, atol=0,
    )  # fmt: skip
    raw = CrossCorrelation(form="covariance")
    difference = cross_correlation(raw, pair, pair)[0] - cross_correlation(raw, moved, moved)[0]
    assert difference.abs() > 1


def test_feature_norm_has_entries_of_the_size_of_a_correlation(pair: list[Tensor]) -> None:
    z = pair[0]
    _, metrics = cross_correlation(CrossCorrelation(form="feature_norm"), [z, z], [z, z])
    assert 0.8 < metrics["correlation_diagonal"].item() <= 1


def test_only_the_first_online_and_the_second_target_view_are_read(pair: list[Tensor]) -> None:
    a, b = pair
    loss, _ = cross_correlation(CrossCorrelation(), [a, None], [None, b])
    assert_close(loss, cross_correlation(CrossCorrelation(), pair, pair)[0])


def test_gradient_does_not_reach_a_detached_target(pair: list[Tensor]) -> None:
    a, b = pair
    cross_correlation(CrossCorrelation(), [a, None], [None, b.detach()])[0].backward()
    assert a.grad is not None
    assert b.grad is None


def test_half_precision_is_computed_in_float32(pair: list[Tensor]) -> None:
    half = [x.detach().bfloat16() for x in pair]
    full = [x.float() for x in half]
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = cross_correlation(CrossCorrelation(), half, half)
    assert_close(inside, cross_correlation(CrossCorrelation(), full, full)[0], rtol=0, atol=0)


def test_a_single_image_and_a_single_feature_are_refused() -> None:
    for shape in ((1, 4), (4, 1)):
        z = [torch.randn(shape)] * 2
        with pytest.raises(UserError, match="at least two"):
            cross_correlation(CrossCorrelation(), z, z)


def test_different_shapes_are_refused(pair: list[Tensor]) -> None:
    with pytest.raises(UserError, match="differ in shape"):
        cross_correlation(CrossCorrelation(), pair, [x[:, :3] for x in pair])
