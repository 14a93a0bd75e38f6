"""Linear support vector machines with squared hinge loss: many at once, to the optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_NEWTON_STEPS = 100
_CONJUGATE_STEPS = 250
_HALVINGS = 30


@dataclass(frozen=True)
class Machines:
    """P linear functions of features.

    Attributes:
        weights: D×P float64.
        bias: P float64.
    """

    weights: Tensor
    bias: Tensor

    def scores(self, x: Tensor) -> Tensor:
        """N×D float64 features to N×P."""
        return torch.addmm(self.bias, x, self.weights)


def fit(
    x: Tensor, positive: Tensor, costs: Sequence[Tensor], *, tolerance: float = 1e-6
) -> list[Machines]:
    """The minima of P strictly convex problems on the same features, at one cost after the other.

        |w|² / 2 + b² / 2 + sum over n of c_n max(0, 1 - y_n (w·x_n + b))²

    The bias is regularised like a weight, of a feature that is 1: liblinear's
    `intercept_scaling=1`. Newton's method on the images inside the margin, each direction by
    conjugate gradients with the Hessian's diagonal as preconditioner, in the principal axes of the
    features, where that diagonal is most of it. Nothing is random.

    Args:
        x: N×D float64.
        positive: bool N×P, y = 1, otherwise y = -1.
        costs: several N×P float64, c; 0 leaves an image out of a problem. Each starts where the one
            before it ended, which is quick where they ascend.
        tolerance: of a gradient's norm, as a share of its norm at zero.
    Source: Keerthi and DeCoste 2005, "A modified finite Newton method for fast solution of large
    scale linear SVMs"; Lin, Weng and Keerthi 2008 for the inner conjugate gradients.
    """
    extended = torch.cat([x, x.new_ones(len(x), 1)], 1)
    axes = _principal_axes(extended)  # (D+1)×r
    newton = _Newton(extended @ axes, positive, tolerance)
    solved = [axes @ newton.solved(each) for each in costs]
    return [Machines(weights[:-1].contiguous(), weights[-1].contiguous()) for weights in solved]


def _principal_axes(x: Tensor) -> Tensor:
    """Orthonormal axes (columns) of the rows' span: no optimum has a part outside of it."""
    if len(x) < x.shape[1]:
        basis = torch.linalg.qr(x.T).Q  # D×N
        return basis @ _principal_axes(x @ basis)
    return torch.linalg.eigh(x.T @ x).eigenvectors


class _Newton:
    """The state of the problems: columns are dropped from the work once they are solved."""

    def __init__(self, x: Tensor, positive: Tensor, tolerance: float) -> None:
        self.x, self.squares = x, x.square()
        self.signs = torch.where(positive, 1.0, -1.0).to(x.dtype)
        self.tolerance = tolerance
        self.weights = x.new_zeros(x.shape[1], positive.shape[1])
        self.costs = torch.zeros_like(self.signs)

    def solved(self, costs: Tensor) -> Tensor:
        """The r×P weights at the optimum of N×P costs."""
        self.costs = costs
        start = (self.x.T @ (2 * costs * self.signs)).norm(dim=0)  # of the gradient at zero
        for _ in range(_NEWTON_STEPS):
            gradient, active = self._gradient()
            open_ = (gradient.norm(dim=0) > self.tolerance * start).nonzero().flatten()
            if not len(open_):
                break
            direction = self._direction(gradient[:, open_], active[:, open_])
            self._move(open_, gradient[:, open_], direction)
        return self.weights

    def _gradient(self) -> tuple[Tensor, Tensor]:
        """r×P gradients, and N×P twice the cost of each image inside the margin, 0 outside."""
        slack = 1 - self.signs * (self.x @ self.weights)
        active = 2 * self.costs * (slack > 0)
        return self.weights - self.x.T @ (active * slack * self.signs), active

    def _direction(self, gradient: Tensor, active: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient, nearly: r×P."""
        diagonal = 1 + self.squares.T @ active
        step, residual = torch.zeros_like(gradient), -gradient
        ahead = residual / diagonal
        along, product = ahead, (residual * ahead).sum(0)
        # Superlinear in the end: the nearer the optimum, the more exact.
        goal = gradient.norm(dim=0) * (0.1 * gradient.norm(dim=0).sqrt()).clamp(1e-6, 0.1)
        for _ in range(_CONJUGATE_STEPS):
            left = residual.norm(dim=0) > goal
            if not left.any():
                break
            curved = along + self.x.T @ (active * (self.x @ along))
            length = torch.where(left, product / (along * curved).sum(0), 0.0)
            step = step + length * along
            residual = residual - length * curved
            ahead = residual / diagonal
            next_product = (residual * ahead).sum(0)
            along = ahead + torch.where(left, next_product / product, 0.0) * along
            product = next_product
        return step

    def _move(self, columns: Tensor, gradient: Tensor, direction: Tensor) -> None:
        """Along the directions, as far as the losses fall by what their slopes promise."""
        weights = self.weights[:, columns]
        slope = (gradient * direction).sum(0)
        begin, length = self._loss(columns, weights), torch.ones_like(slope)
        for _ in range(_HALVINGS):
            moved = weights + length * direction
            # Rounding of the loss itself must not stop the last steps.
            enough = begin + 1e-4 * length * slope + 1e-12 * begin
            short = self._loss(columns, moved) > enough
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        self.weights[:, columns] = weights + length * direction

    def _loss(self, columns: Tensor, weights: Tensor) -> Tensor:
        slack = (1 - self.signs[:, columns] * (self.x @ weights)).clamp(min=0)
        return weights.square().sum(0) / 2 + (self.costs[:, columns] * slack.square()).sum(0)
