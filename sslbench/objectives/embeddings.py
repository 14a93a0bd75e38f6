"""What the losses share: which views meet, checks of shapes, float32, gathering."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.distributed import gather, gather_with_gradient
from sslbench.errors import UserError

Embeddings = Sequence[Tensor | None]


def directions(*, symmetric: bool) -> list[tuple[int, int]]:
    """(online view, target view) pairs: view 0 against 1, and 1 against 0 where symmetric."""
    return [(0, 1), (1, 0)] if symmetric else [(0, 1)]


def select(embeddings: Embeddings, view: int, *, name: str) -> Tensor:
    """One view's embeddings N×D as float32 (float64 stays), after checks.

    Raises:
        UserError: more than two views, the view is absent, or not N×D with N >= 1.
    """
    if len(embeddings) > 2:
        raise UserError(f"{name}: this loss takes two views, got {len(embeddings)}.")
    chosen = embeddings[view] if view < len(embeddings) else None
    if chosen is None:
        raise UserError(f"{name}: the loss reads view {view}, which is absent.")
    if chosen.dim() != 2 or len(chosen) == 0:
        raise UserError(f"{name}: needs N×D embeddings, got shape {tuple(chosen.shape)}.")
    return chosen if chosen.dtype == torch.float64 else chosen.float()


def require_same_shape(online: Tensor, target: Tensor) -> None:
    """Raises UserError unless both are N×D of one shape."""
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
