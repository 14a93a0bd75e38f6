"""Feature transformation: harder positives, more varied negatives.

A factor is drawn for the whole step, as by the authors' command, or for each dimension of each
row, as by the other form of their code (`--dim_mask none` and `both`). It comes from the step's
key and a place: the rows of the global batch of view 0, those of view 1 and so on, then those of
the queue; a factor of the whole step has the place of its first row. Processes and directions
therefore draw what one process draws for them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.recipes.specs import FeatureTransformation
from sslbench.streams import beta, uniform


def extrapolate(
    spec: FeatureTransformation, query: Tensor, key_rows: Tensor, *, key: int | Tensor, view: int
) -> tuple[Tensor, Tensor]:
    """Move a query and its key away from each other, so that they agree less.

    q' = mu q + (1 - mu) k and k' = mu k + (1 - mu) q, with mu = 1 + Beta(alpha, alpha); neither is
    normalised again. The gradient reaches q through both.

    Args:
        spec: its `positive_alpha` is the alpha; where that is None, q and k stay as they are.
        query, key_rows: N×D unit vectors, this process's rows.
        key: of this step's random numbers.
        view: of the query.
    Source: Zhu et al. 2021, arXiv:2108.02982, Sec. 4, and the authors' code.
    """
    if spec.positive_alpha is None:
        return query, key_rows
    n = len(query)
    first = view * world_size() * n
    mine = torch.arange(n, device=query.device) + first + rank() * n
    mu = 1 + _factors(spec, spec.positive_alpha, mine, query, first=first, key=key)  # N×D or 1×1
    return mu * query + (1 - mu) * key_rows, mu * key_rows + (1 - mu) * query


def interpolate(
    spec: FeatureTransformation,
    queue: Tensor,
    *,
    key: int | Tensor,
    batch_size: int,
    views: int = 2,
) -> Tensor:
    """Mix every entry of the queue with another, so that no step sees the same negatives twice.

    mu Q + (1 - mu) Q[permutation], with mu ~ Beta(alpha, alpha); not normalised again. The queue
    itself stays as it is.

    Args:
        spec: its `negative_alpha` is the alpha; where that is None, the queue is returned.
        queue: K×D.
        key: of this step's random numbers.
        batch_size, views: of the global batch, so that the draws are none of `extrapolate`'s.
    Source: Zhu et al. 2021, arXiv:2108.02982, Sec. 4, and the authors' code.
    """
    if spec.negative_alpha is None:
        return queue
    first = views * batch_size
    places = torch.arange(len(queue), device=queue.device) + first
    mu = _factors(spec, spec.negative_alpha, places, queue, first=first, key=key)
    # Sorted uniforms are a permutation, the same on every process; their places are behind those
    # of the factors.
    order = torch.argsort(uniform(key, places + len(queue), 1)[:, 0], stable=True)
    # index_select copies row by row, indexing number by number: six times as long.
    return torch.lerp(queue.index_select(0, order), queue, mu)  # mu of each entry itself


def _factors(
    spec: FeatureTransformation,
    alpha: float,
    places: Tensor,
    rows: Tensor,
    *,
    first: int,
    key: int | Tensor,
) -> Tensor:
    """N×D factors for N×D rows at those places, or 1×1 for all of them."""
    if spec.per == "step":
        return beta(key, places.new_full((1,), first), 1, alpha=alpha).to(rows.dtype)
    return beta(key, places, rows.shape[1], alpha=alpha).to(rows.dtype)
