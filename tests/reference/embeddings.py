"""Small float64 embeddings, and what it means for two losses to agree."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.objectives import OBJECTIVES, Context
from sslbench.recipes.base import Spec


def embeddings(count: int = 2, n: int = 5, d: int = 4, seed: int = 0) -> list[Tensor]:
    """Leaves of a graph, N×D each."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(n, d, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(count)
    ]


def unit_rows(n: int, *, seed: int = 1, d: int = 4) -> Tensor:
    """A queue or a memory bank, N×D."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)


def loss_of(spec: Spec, z: list[Tensor], **context: Any) -> Tensor:
    """The loss of views that are anchors and candidates; its metrics are finite."""
    loss, metrics = OBJECTIVES[type(spec)](spec, z, z, context=Context(**context))
    assert all(torch.isfinite(value) for value in metrics.values())
    return loss


def queue_loss(spec: Spec, query: Tensor, keys: Tensor, queue: Tensor, **context: Any) -> Tensor:
    """The loss of queries of view 0 and keys of view 1."""
    given = Context(queue=queue, **context)
    loss: Tensor = OBJECTIVES[type(spec)](spec, [query, None], [None, keys], context=given)[0]
    return loss


def assert_same(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Equal in value and in the gradient of every input."""
    assert_close(ours, theirs)
    mine = torch.autograd.grad(ours, inputs, retain_graph=True)
    for a, b in zip(mine, torch.autograd.grad(theirs, inputs, retain_graph=True), strict=True):
        assert_close(a, b)
