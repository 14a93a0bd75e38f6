"""Feature transformation: harder positives, more varied negatives.

Every number is drawn for one dimension of one row, from the step's key and the row's place: the
rows of the global batch of view 0, those of view 1 and so on, then those of the queue. Processes
and directions therefore draw what one process draws for them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.streams import beta, uniform


def extrapolate(
    query: Tensor, key_rows: Tensor, *, alpha: float, key: int, view: int
) -> tuple[Tensor, Tensor]:
    """Move a query and its key away from each other, so that they agree less.

    q' = mu q + (1 - mu) k and k' = mu k + (1 - mu) q, with mu = 1 + Beta(alpha, alpha) in each
    dimension; neither is normalised again. The gradient reaches q through both.

    Args:
        query, key_rows: N×D unit vectors, this process's rows.
        alpha: > 0.
        key: of this step's random numbers.
        view: of the query.
    Source: Zhu et al. 2021, arXiv:2108.02982, Sec. 4, and the authors' code.
    """
    n = len(query)
    places = torch.arange(n, device=query.device) + (view * world_size() + rank()) * n
    mu = 1 + beta(key, places, query.shape[1], alpha=alpha).to(query.dtype)
    return mu * query + (1 - mu) * key_rows, mu * key_rows + (1 - mu) * query


def interpolate(
    queue: Tensor, *, alpha: float, key: int, batch_size: int, views: int = 2
) -> Tensor:
    """Mix every entry of the queue with another, so that no step sees the same negatives twice.

    mu Q + (1 - mu) Q[permutation], with mu ~ Beta(alpha, alpha) in each dimension; not normalised
    again. The queue itself stays as it is.

    Args:
        queue: K×D.
        alpha: > 0.
        key: of this step's random numbers.
        batch_size, views: of the global batch, so that the draws are none of `extrapolate`'s.
    Source: Zhu et al. 2021, arXiv:2108.02982, Sec. 4, and the authors' code.
    """
    rows = torch.arange(len(queue), device=queue.device)
    places = views * batch_size + rows
    mu = beta(key, places, queue.shape[1], alpha=alpha).to(queue.dtype)
    order = torch.argsort(uniform(key, places + len(queue), 1)[:, 0], stable=True)
    return torch.lerp(queue[order], queue, mu)
