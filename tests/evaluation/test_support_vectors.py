"""The machines against scikit-learn's liblinear, and against the conditions of an optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from sslbench.evaluation.support_vectors import fit


def problems(rows: int, features: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated features of length 1 away from zero, and classes that they tell in part."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    x = x * torch.logspace(0, -1, features, dtype=torch.float64) + 0.3
    x = x / x.norm(dim=1, keepdim=True)
    told = x @ torch.randn(features, count, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, count, generator=generator, dtype=torch.float64)
    return x, (told - told.mean(0)) / told.std(0) + noise > 0.8


def costs_of(positive: torch.Tensor, cost: float) -> torch.Tensor:
    return cost * torch.where(positive, 2.0, 1.0).double()


@pytest.mark.parametrize(("rows", "features"), [(200, 12), (60, 150)])
@pytest.mark.parametrize("cost", [0.01, 1.0, 100.0])
def test_they_are_those_of_liblinear(rows: int, features: int, cost: float) -> None:
    x, positive = problems(rows, features, 3)
    (found,) = fit(x, positive, [costs_of(positive, cost)])
    for p in range(3):
        theirs = LinearSVC(
            C=cost, class_weight={1: 2, -1: 1}, intercept_scaling=1.0, penalty="l2",
            loss="squared_hinge", dual=True, tol=1e-7, max_iter=200_000, random_state=0,
        ).fit(x.numpy(), np.where(positive[:, p], 1, -1))  # fmt: skip
        assert np.allclose(found.weights[:, p], theirs.coef_[0], atol=1e-3)
        assert float(found.bias[p]) == pytest.approx(float(theirs.intercept_[0]), abs=1e-3)
        assert np.allclose(found.scores(x)[:, p], theirs.decision_function(x.numpy()), atol=1e-3)


def test_the_gradient_is_zero_and_an_image_of_no_cost_is_not_there() -> None:
    x, positive = problems(120, 8, 4)
    costs = costs_of(positive, 5.0)
    costs[:40, 1] = 0
    (found,) = fit(x, positive, [costs], tolerance=1e-10)
    weights = found.weights.clone().requires_grad_()
    bias = found.bias.clone().requires_grad_()
    signs = torch.where(positive, 1.0, -1.0)
    hinge = (1 - signs * (x @ weights + bias)).clamp(min=0)
    loss = (weights.square().sum() + bias.square().sum()) / 2 + (costs * hinge.square()).sum()
    loss.backward()
    assert float(weights.grad.abs().max()) < 1e-6 and float(bias.grad.abs().max()) < 1e-6
    (alone,) = fit(x[40:], positive[40:, 1:2], [costs[40:, 1:2]], tolerance=1e-10)
    assert torch.allclose(alone.weights[:, 0], found.weights[:, 1], atol=1e-7)


def test_where_it_starts_and_what_is_solved_beside_it_do_not_matter() -> None:
    x, positive = problems(100, 10, 5)
    grid = [costs_of(positive, cost) for cost in (0.1, 1.0, 50.0)]
    warm = fit(x, positive, grid)
    again = fit(x, positive, grid)
    for cost, one, same in zip(grid, warm, again, strict=True):
        assert torch.equal(one.weights, same.weights)
        (cold,) = fit(x, positive, [cost])
        assert torch.allclose(one.weights, cold.weights, atol=1e-4)
        (single,) = fit(x, positive[:, 3:4], [cost[:, 3:4]])
        assert torch.allclose(one.weights[:, 3], single.weights[:, 0], atol=1e-4)


def test_features_that_are_all_zero_give_a_bias_alone() -> None:
    positive = torch.tensor([[True], [False], [False]])
    (found,) = fit(torch.zeros(3, 2, dtype=torch.float64), positive, [costs_of(positive, 1.0)])
    assert found.weights.abs().max() == 0
    # b/2 b + 2 (1 - b)² + 2 (1 + b)² has its minimum at 0.
    assert float(found.bias[0]) == pytest.approx(0, abs=1e-9)
