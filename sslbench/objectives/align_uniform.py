"""Alignment and uniformity on the hypersphere, optimised directly."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.batch import Batch, Clock
from sslbench.distributed import gather_with_gradient, rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.embeddings import (
    Embeddings,
    directions,
    gather_rows,
    require_same_shape,
    select,
)
from sslbench.objectives.objective import Given, LossOutput, Objective, Reads, by_direction
from sslbench.objectives.queue import Queue
from sslbench.recipes.specs import AlignUniform


def align_uniform(
    spec: AlignUniform, online: Embeddings, target: Embeddings, *, queue: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pull the views of an image together and spread the images over the sphere.

    Of unit vectors, with power a and scale t, averaged over directions and over online views:

    - alignment: mean |z_i - z'_i|^a, from online view to the other target view;
    - uniformity: log mean exp(-t |z_i - z_j|^2) over the pairs of distinct images of the *global*
      batch, of the online view. The mean is inside the logarithm, so it is not a mean of the
      processes' values. With the queue the mean is over these pairs, each once, and all pairs of
      an image and an entry ("intra-batch" in the authors' code, its default).

    The loss is `align_weight` * alignment + `uniform_weight` * uniformity.

    Args:
        online: N×D of each view; computed in float32.
        target: N×D of each view.
        queue: K×D unit vectors, read when `negatives` is "queue".
    Returns:
        Scalar loss, `alignment` and `uniformity`.
    Raises:
        UserError: shapes differ, fewer than two images in the global batch, or no queue given.
    Source: Wang and Isola 2020, arXiv:2005.10242, Sec. 4.1; the queue form is the
        authors' code for MoCo.
    """
    if spec.negatives == "queue" and queue is None:
        raise UserError("AlignUniform with negatives 'queue' was given no queue.")
    alignments, uniformities = [], []
    pairs = directions(symmetric=spec.symmetric, num_views=len(online))
    # Uniformity is of a view alone: once for it, however many targets it is aligned with.
    for view in dict.fromkeys(view for view, _ in pairs):
        z = select(online, view, name="online")
        # Below 1 the cosines of bf16 are 0.004 apart: near pairs would have no distance.
        with torch.autocast(z.device.type, enabled=False):
            z = F.normalize(z, dim=1)
            for other in (other for anchor, other in pairs if anchor == view):
                positive = select(target, other, name="target")
                require_same_shape(z, positive)
                distances = torch.linalg.vector_norm(z - F.normalize(positive, dim=1), dim=1)  # N
                alignments.append(distances.pow(spec.align_power).mean())
            uniformities.append(_uniformity(spec, z, queue))
    alignment, uniformity = torch.stack(alignments).mean(), torch.stack(uniformities).mean()
    loss = spec.align_weight * alignment + spec.uniform_weight * uniformity
    return loss, {"alignment": alignment.detach(), "uniformity": uniformity.detach()}


def _uniformity(spec: AlignUniform, z: Tensor, queue: Tensor | None) -> Tensor:
    """log mean exp(-t d^2), scalar, equal on all processes. z: N×D unit vectors of this one."""
    n, everyone = len(z), gather_rows(z)  # (world N)×D
    total = len(everyone)
    if total < 2:
        raise UserError("AlignUniform needs at least two images in a batch; raise batch_size.")
    places = torch.arange(total, device=z.device)
    itself = places[rank() * n : (rank() + 1) * n, None] == places  # N×(world N)
    # A pair is met from both of its ends, on two processes perhaps: half its weight at each.
    within = _exponents(spec, z, everyone).masked_fill(itself, -math.inf) - math.log(2)
    terms, count = [within.flatten()], total * (total - 1) / 2
    if queue is not None:
        # A pair with an entry is met from one end only: its whole weight.
        terms.append(_exponents(spec, z, queue.to(z.dtype)).flatten())
        count += total * len(queue)
    local = torch.logsumexp(torch.cat(terms), dim=0)
    # The log is of everyone's sum, not a mean of logs: sums are joined before it, with gradient,
    # because the rows here move the value of every process.
    if world_size() > 1:
        local = torch.logsumexp(gather_with_gradient(local[None]), dim=0)
    return local - math.log(count)


def _exponents(spec: AlignUniform, a: Tensor, b: Tensor) -> Tensor:
    """-t |a_i - b_j|^2 of unit vectors."""
    return 2 * spec.uniform_scale * (a @ b.T - 1)  # |a - b|² = 2 - 2 cos, N×M


class AlignUniformLoss(Objective):
    """Alignment and uniformity, with a queue of past keys where the spec has one."""

    def __init__(self, spec: AlignUniform, given: Given) -> None:
        super().__init__()
        self.spec = spec
        self.queue: Queue | None = None
        if spec.queue is not None:
            self.queue = Queue(spec.queue, given.projected, seed=given.seed)

    def reads(self, num_views: int) -> Reads:
        return by_direction(symmetric=self.spec.symmetric, num_views=num_views)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        if self.queue is None:
            return LossOutput(*align_uniform(self.spec, online, target))
        loss, metrics = align_uniform(self.spec, online, target, queue=self.queue.entries)
        # The keys of view 1 alone, as MoCo's, also where both views are anchors.
        return LossOutput(loss, metrics, select(target, 1, name="target").detach())

    def remember(self, carry: Any, clock: Clock) -> None:
        if self.queue is not None:
            self.queue.enqueue(carry)
