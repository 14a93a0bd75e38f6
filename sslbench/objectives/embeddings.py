"""What the losses share: which views meet, checks of shapes, float32, gathering."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.distributed import gather, gather_with_gradient
from sslbench.errors import UserError

Embeddings = Sequence[Tensor | None]


def directions(
    *, symmetric: bool, num_views: int = 2, num_targets: int = 2
) -> list[tuple[int, int]]:
    """(online view, target view) pairs of a loss, which is their mean.

    Every online view against every target view but its own: with two views 0 against 1 and 1
    against 0. Not symmetric, view 1 is the only target, and no anchor: 0 against 1, and every
    local crop (views from 2 on) against 1.
    """
    targets = range(num_targets) if symmetric else (1,)
    views = anchor_views(symmetric=symmetric, num_views=num_views)
    return [(view, other) for view in views for other in targets if view != other]


def anchor_views(*, symmetric: bool, num_views: int) -> list[int]:
    """The online views that a loss reads: all of them, without view 1 where not symmetric."""
    return [view for view in range(max(2, num_views)) if symmetric or view != 1]


def select(embeddings: Embeddings, view: int, *, name: str) -> Tensor:
    """One view's embeddings N×D, or scores N×H×K, as float32 (float64 stays), after checks.

    Raises:
        UserError: the view is absent, or of another shape; N >= 1.
    """
    chosen = embeddings[view] if view < len(embeddings) else None
    if chosen is None:
        raise UserError(f"{name}: the loss reads view {view}, which is absent.")
    if chosen.dim() not in (2, 3) or len(chosen) == 0:
        raise UserError(
            f"{name}: needs N×D embeddings or N×H×K scores, got shape {tuple(chosen.shape)}."
        )
    # Networks may run in bf16, losses do not: softmaxes and sums over the batch need the digits.
    return chosen if chosen.dtype == torch.float64 else chosen.float()


def require_same_shape(online: Tensor, target: Tensor) -> None:
    """Raises UserError unless both are of one shape."""
    if online.shape != target.shape:
        raise UserError(
            f"online and target embeddings differ in shape: {tuple(online.shape)} and "
            f"{tuple(target.shape)}; projector.out and predictor.out must agree."
        )


def gather_rows(x: Tensor) -> Tensor:
    """All processes' rows in rank order; the gradient flows back exactly where x has one.

    Whether x has one follows from the recipe, so all processes choose alike.
    """
    return gather_with_gradient(x) if x.requires_grad else gather(x)
