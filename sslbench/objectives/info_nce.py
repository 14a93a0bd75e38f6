"""InfoNCE: NT-Xent, MoCo's loss, MoCo v3's, BYOL's form, and what chooses or weighs negatives.

In stages: similarities (of transformed features, if asked), the ring, the denominator (weights,
debiasing, with or without the positive), the loss. An option at its default costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from sslbench.batch import Batch, Clock, Moment
from sslbench.distributed import gather
from sslbench.objectives.candidates import NO_MEMORY, Candidates, Memory, compare
from sslbench.objectives.denominator import log_denominator
from sslbench.objectives.embeddings import Embeddings, select
from sslbench.objectives.objective import (
    Given,
    LossOutput,
    Objective,
    Reads,
    anchors_alone,
    by_direction,
)
from sslbench.objectives.queue import Queue
from sslbench.objectives.ring import in_ring
from sslbench.recipes.specs import InfoNCE


def info_nce(
    spec: InfoNCE,
    online: Embeddings,
    target: Embeddings,
    *,
    memory: Memory = NO_MEMORY,
    progress: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Tell the other view of an image from negatives.

    For an anchor with positive logit l+ the loss is
    `scale * (-l+ + negative_weight * logsumexp(logits))`, where logits are similarities over the
    temperature and include the positive; its mean over anchors and directions is returned.
    With weight and scale 1 it is the cross-entropy: over `both_views`, with the target the online
    projections, NT-Xent as a mean over 2N anchors (SimCLR, Eq. 1), and over V views as a mean over
    N V (V - 1) pairs with the views of other images as negatives (SwAV's multi-crop form of it);
    over `other_view` MoCo v3's
    loss without its factor 2 * temperature; over the `queue` MoCo's (Eq. 1); over the `bank` the
    full softmax of instance discrimination (NPID, Eq. 2). With scale 2 * temperature it is BYOL's
    Eq. 8 (App. F.5), negated.

    Options, in the order of their effect; the modules named hold formulas and sources:
    `transform` (transformation.py), `ring` (ring.py), `hardness`, `class_prior` and
    `positive_in_denominator` (denominator.py). `positive_sigma` weighs the term -l+ of DCL
    (Yeh et al. 2021, arXiv:2110.06848, Sec. 3), see `_positive_weights`.

    Args:
        online: the anchors, N×D of each view; computed in float32.
        target: the candidates, N×D of each view. They are gathered over processes, with gradient
            where they carry one. Not read when `negatives` is "bank".
        memory: its queue is read when `negatives` is "queue", its bank and indices when it is
            "bank". Enqueue and update after the backward pass.
        progress: share of the training steps already done, for the ring's annealing.
    Returns:
        Scalar loss, and `contrastive_accuracy` (percent of anchors whose positive scores above
        all others), `contrastive_entropy` (nats, of the softmax over logits),
        `positive_similarity` (of unit vectors, the cosine), `coupling` (mean of 1 less the
        positive's probability, the factor q_B on InfoNCE's gradient in DCL's Prop. 1) and
        `coupling_variation` (its standard deviation over its mean, over all anchors).
    Raises:
        UserError: shapes differ, fewer than two images without a queue, no queue or bank given,
            or an empty ring.
    """
    # In bf16 a logit of 9, a cosine of 0.9 at temperature 0.1, has neighbours 0.06 away.
    with torch.autocast(select(online, 0, name="online").device.type, enabled=False):
        candidates = compare(spec, online, target, memory=memory)
        if spec.ring is not None:
            candidates = in_ring(spec.ring, candidates, progress=progress)
        positive = candidates.positive()  # B
        log_sum, entropy = candidates.log_sum()  # B each
        attraction = positive
        if spec.positive_sigma is not None:
            batch_size = len(select(online, 0, name="online"))
            attraction = _positive_weights(spec, positive, batch_size) * positive
        loss = -attraction.mean()
        if spec.negative_weight > 0:
            # A plain softmax needs no second pass over the candidates.
            below = log_sum if _is_softmax(spec) else log_denominator(spec, candidates)
            loss = loss + spec.negative_weight * below.mean()
        return spec.scale * loss, _metrics(spec, candidates, positive, log_sum, entropy)


def _is_softmax(spec: InfoNCE) -> bool:
    return spec.positive_in_denominator and spec.hardness == 0 and spec.class_prior == 0


@torch.no_grad()
def _positive_weights(spec: InfoNCE, positive: Tensor, batch_size: int) -> Tensor:
    """DCLW: 2 - N softmax_i(s_i / sigma) over the global batch of each direction; mean 1.

    Without gradient: the paper does not say, and with it a pair could lower the loss by moving
    apart, for a larger weight.
    """
    assert spec.positive_sigma is not None
    positives = positive.view(-1, batch_size)  # directions×N
    # Logits are over the temperature; sigma takes its place.
    exponents = positives * spec.temperature / spec.positive_sigma
    everyone = gather(exponents.T)  # (world N)×directions
    log_mean = torch.logsumexp(everyone, dim=0) - math.log(len(everyone))
    return (2 - torch.exp(exponents - log_mean[:, None])).flatten()


@torch.no_grad()
def _metrics(
    spec: InfoNCE, candidates: Candidates, positive: Tensor, log_sum: Tensor, entropy: Tensor
) -> dict[str, Tensor]:
    coupling = -torch.expm1(positive - log_sum)  # 1 - p without cancellation where p is near 1
    everyone = gather(coupling)
    # Where all pairs are told apart both are 0.
    variation = everyone.std(correction=0) / everyone.mean().clamp(min=1e-12)
    return {
        "contrastive_accuracy": 100 * candidates.is_best().float().mean(),
        "contrastive_entropy": entropy.mean(),
        "positive_similarity": positive.mean() * spec.temperature,
        "coupling": coupling.mean(),
        "coupling_variation": variation,
    }


class InfoNCELoss(Objective):
    """InfoNCE with where its negatives come from: the batch, a queue of keys, the memory bank."""

    def __init__(self, spec: InfoNCE, given: Given) -> None:
        super().__init__()
        self.spec, self.progress = spec, 0.0
        self.bank = given.bank if spec.reads_bank else None
        self.queue: Queue | None = None
        if spec.queue is not None:
            self.queue = Queue(
                spec.queue, given.projected, seed=given.seed, normalize=spec.normalize
            )

    def reads(self, num_views: int) -> Reads:
        if self.spec.negatives == "both_views":
            # Every view is an anchor, and a negative of the other images' views.
            every = tuple(range(max(2, num_views)))
            return Reads(every, every)
        reads = anchors_alone if self.spec.reads_bank else by_direction
        return reads(symmetric=self.spec.symmetric, num_views=num_views)

    def before_step(self, moment: Moment) -> Hashable:
        if self.spec.ring is None:
            return None
        self.progress = moment.progress  # on the host: how many negatives there are is a shape
        return self.spec.ring.outer_at(moment.progress)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        memory = Memory(
            queue=None if self.queue is None else self.queue.entries,
            bank=None if self.bank is None else self.bank.entries,
            indices=batch.indices,
            key=batch.clock.key,
        )
        loss, metrics = info_nce(self.spec, online, target, memory=memory, progress=self.progress)
        # One key of an image, also where both views are queries: K keys are K past images.
        keys = None if self.queue is None else select(target, 1, name="target").detach()
        return LossOutput(loss, metrics, keys)

    def remember(self, carry: Any, clock: Clock) -> None:
        if self.queue is not None:
            self.queue.enqueue(carry)
