"""Small float64 embeddings, and what it means for two losses to agree."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.objectives.align_uniform import align_uniform
from sslbench.objectives.candidates import Memory
from sslbench.objectives.cluster_assignment import Assigned, cluster_assignment
from sslbench.objectives.cross_correlation import cross_correlation
from sslbench.objectives.embeddings import Embeddings
from sslbench.objectives.info_nce import info_nce
from sslbench.objectives.negative_cosine import negative_cosine
from sslbench.objectives.noise_contrastive import noise_contrastive
from sslbench.objectives.relational import relational
from sslbench.objectives.simple_contrast import simple_contrast
from sslbench.recipes.specs import (
    AlignUniform,
    ClusterAssignment,
    CrossCorrelation,
    InfoNCE,
    NegativeCosine,
    NoiseContrastive,
    ObjectiveSpec,
    Relational,
    SimpleContrast,
)

FUNCTIONS: dict[type[ObjectiveSpec], tuple[Any, tuple[str, ...]]] = {  # and what they read besides
    AlignUniform: (align_uniform, ("queue",)),
    CrossCorrelation: (cross_correlation, ()),
    NegativeCosine: (negative_cosine, ()),
    NoiseContrastive: (noise_contrastive, ("bank", "indices", "partition", "key")),
    Relational: (relational, ("queue",)),
    SimpleContrast: (simple_contrast, ("bank", "indices", "progress")),
}


def compute(
    spec: ObjectiveSpec, online: Embeddings, target: Embeddings, **given: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and metrics of a spec; of what is given besides it takes what it reads."""
    result: tuple[Tensor, dict[str, Tensor]]
    if isinstance(spec, InfoNCE):
        read = {k: given[k] for k in ("queue", "bank", "indices", "key") if k in given}
        progress = given.get("progress", 0.0)
        return info_nce(spec, online, target, memory=Memory(**read), progress=progress)
    if isinstance(spec, ClusterAssignment):
        return cluster_assignment(spec, online, target, given=Assigned(**given))
    function, names = FUNCTIONS[type(spec)]
    views = (online,) if "bank" in names else (online, target)
    result = function(spec, *views, **{k: given[k] for k in names if k in given})
    return result


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


def loss_of(spec: ObjectiveSpec, z: list[Tensor], **given: Any) -> Tensor:
    """The loss of views that are anchors and candidates; its metrics are finite."""
    loss, metrics = compute(spec, z, z, **given)
    assert all(torch.isfinite(value) for value in metrics.values())
    return loss


def queue_loss(
    spec: ObjectiveSpec, query: Tensor, keys: Tensor, queue: Tensor, **given: Any
) -> Tensor:
    """The loss of queries of view 0 and keys of view 1."""
    return compute(spec, [query, None], [None, keys], queue=queue, **given)[0]


def assert_same(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Equal in value and in the gradient of every input."""
    assert_close(ours, theirs)
    mine = torch.autograd.grad(ours, inputs, retain_graph=True)
    for a, b in zip(mine, torch.autograd.grad(theirs, inputs, retain_graph=True), strict=True):
        assert_close(a, b)
