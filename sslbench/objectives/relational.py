"""ReSSL: the similarities of a view to past images, as a teacher sees them, are what to predict."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.batch import Batch, Clock
from sslbench.objectives.embeddings import Embeddings, directions, require_same_shape, select
from sslbench.objectives.objective import Given, LossOutput, Objective, Reads, by_direction
from sslbench.objectives.queue import Queue
from sslbench.recipes.specs import Relational


def relational(
    spec: Relational, online: Embeddings, target: Embeddings, *, queue: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the student's relations to the queue under the teacher's.

    A relation is softmax(cos(z, queue) / temperature) over the K entries. The teacher's lower
    temperature makes its relation the sharper one; it carries no gradient. The batch itself is
    not in the queue, so that no image is related to itself: enqueue after the backward pass.

    Args:
        online: the student's embeddings, N×D of each view; computed in float32.
        target: the teacher's, N×D of each global view. One-sided, the student sees view 0
            (strongly augmented) and the local crops, the teacher view 1 (weakly).
        queue: K×D unit vectors.
    Returns:
        Scalar loss, the mean over rows and pairs of views, and `teacher_entropy` and
        `divergence` (nats): the loss is the entropy of the teacher's relations plus the
        Kullback-Leibler divergence of the student's from them.
    Raises:
        UserError: shapes differ, or a view that is read is absent.
    Source: Zheng et al. 2021, arXiv:2107.09282, Sec. 3.2, Eq. 4 to 6.
    """
    pairs = directions(symmetric=spec.symmetric, num_views=len(online))
    teachers = {j: select(target, j, name="target").detach() for j in {j for _, j in pairs}}  # N×D
    with torch.autocast(queue.device.type, enabled=False):
        relations = {
            j: _log_relation(z, queue, spec.teacher_temperature).exp() for j, z in teachers.items()
        }
        students: dict[int, Tensor] = {}
        losses = []
        for view, other in pairs:
            if view not in students:
                student = select(online, view, name="online")
                require_same_shape(student, teachers[other])
                students[view] = _log_relation(student, queue, spec.temperature)
            losses.append(-(relations[other] * students[view]).sum(dim=1).mean())
        loss = torch.stack(losses).mean()
        # entr is 0 at a probability that a low temperature has brought to 0; p log p would be NaN.
        entropy = torch.special.entr(torch.cat([*relations.values()])).sum(dim=1).mean()
    return loss, {"teacher_entropy": entropy, "divergence": loss.detach() - entropy}


def _log_relation(embeddings: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """N×K log-probabilities, of embeddings N×D of any length and unit entries K×D."""
    cosines = F.normalize(embeddings, dim=1) @ queue.to(embeddings.dtype).T  # N×K
    return F.log_softmax(cosines / temperature, dim=1)


class RelationalLoss(Objective):
    """ReSSL with its queue of the teacher's embeddings."""

    def __init__(self, spec: Relational, given: Given) -> None:
        super().__init__()
        self.spec = spec
        self.queue = Queue(spec.queue, given.projected, seed=given.seed)

    def reads(self, num_views: int) -> Reads:
        return by_direction(symmetric=self.spec.symmetric, num_views=num_views)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        loss, metrics = relational(self.spec, online, target, queue=self.queue.entries)
        return LossOutput(loss, metrics, select(target, 1, name="target").detach())

    def remember(self, carry: Any, clock: Clock) -> None:
        self.queue.enqueue(carry)
