"""InfoNCE: NT-Xent, MoCo's loss, MoCo v3's, BYOL's form, and what chooses or weighs negatives.

In stages: similarities (of transformed features, if asked), the ring, the denominator (weights,
debiasing, with or without the positive), the loss. An option at its default costs nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import gather, rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.candidates import Candidates, concatenate
from sslbench.objectives.context import NOTHING, Context
from sslbench.objectives.denominator import log_denominator
from sslbench.objectives.embeddings import (
    Embeddings,
    directions,
    gather_rows,
    require_same_shape,
    select,
)
from sslbench.objectives.ring import in_ring
from sslbench.objectives.transformation import extrapolate, interpolate
from sslbench.recipes.specs import InfoNCE


def info_nce(
    spec: InfoNCE, online: Embeddings, target: Embeddings, *, context: Context = NOTHING
) -> tuple[Tensor, dict[str, Tensor]]:
    """Tell the other view of an image from negatives.

    For an anchor with positive logit l+ the loss is
    `scale * (-l+ + negative_weight * logsumexp(logits))`, where logits are similarities over the
    temperature and include the positive; its mean over anchors and directions is returned.
    With weight and scale 1 it is the cross-entropy: over `both_views`, with the target the online
    projections, NT-Xent as a mean over 2N anchors (SimCLR, Eq. 1); over `other_view` MoCo v3's
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
        context: its queue is read when `negatives` is "queue", its bank and indices when it is
            "bank", its key by `transform`, its progress by `ring`. Enqueue and update after the
            backward pass.
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
    with torch.autocast(select(online, 0, name="online").device.type, enabled=False):
        candidates = _candidates(spec, online, target, context)
        if spec.ring is not None:
            candidates = in_ring(spec.ring, candidates, progress=context.progress)
        positive = candidates.positive()
        log_sum = torch.logsumexp(candidates.scores, dim=1)
        attraction = positive
        if spec.positive_sigma is not None:
            attraction = _positive_weights(spec, positive) * positive
        loss = -attraction.mean()
        if spec.negative_weight > 0:
            below = log_sum if _is_softmax(spec) else log_denominator(spec, candidates)
            loss = loss + spec.negative_weight * below.mean()
        return spec.scale * loss, _metrics(spec, candidates.scores, positive, log_sum)


def _is_softmax(spec: InfoNCE) -> bool:
    return spec.positive_in_denominator and spec.hardness == 0 and spec.class_prior == 0


def _candidates(
    spec: InfoNCE, online: Embeddings, target: Embeddings, context: Context
) -> Candidates:
    """Logits of the anchors of all directions, one after the other."""
    pairs = directions(symmetric=spec.symmetric)
    anchors = {view: _unit(spec, select(online, view, name="online")) for view, _ in pairs}
    if spec.negatives == "bank":
        return concatenate([_with_bank(spec, anchors[view], context) for view, _ in pairs])
    needed = {0, 1} if spec.symmetric or spec.negatives == "both_views" else {1}
    rows = {v: _unit(spec, select(target, v, name="target")) for v in sorted(needed)}
    for view, other in pairs:
        require_same_shape(anchors[view], rows[other])
    if spec.negatives == "queue":
        queue = _queue(spec, rows[1], context)
        return concatenate(
            [_with_queue(spec, anchors[v], rows[o], queue, v, context) for v, o in pairs]
        )
    if world_size() * len(rows[1]) < 2:
        raise UserError("InfoNCE needs at least two images in a batch; raise batch_size.")
    everyone = {v: gather_rows(x) for v, x in rows.items()}
    return concatenate([_with_batch(spec, anchors[v], everyone, v, o) for v, o in pairs])


def _with_batch(
    spec: InfoNCE, anchors: Tensor, rows: dict[int, Tensor], view: int, other: int
) -> Candidates:
    n = len(anchors)
    own = torch.arange(n, device=anchors.device) + rank() * n
    logits = anchors @ rows[other].T / spec.temperature
    num_negatives = logits.shape[1] - 1
    if spec.negatives == "both_views":
        same = anchors @ rows[view].T / spec.temperature
        itself = torch.zeros_like(same, dtype=torch.bool).scatter_(1, own[:, None], True)
        same = same.masked_fill(itself, torch.finfo(same.dtype).min)
        logits = torch.cat([logits, same], dim=1)
        num_negatives *= 2
    return Candidates(logits, own, num_negatives)


def _queue(spec: InfoNCE, keys: Tensor, context: Context) -> Tensor:
    """The negatives of this step, K×D."""
    if context.queue is None:
        raise UserError("InfoNCE with negatives 'queue' was given no queue.")
    queue = context.queue.to(keys.dtype)
    if spec.transform is None or spec.transform.negative_alpha is None:
        return queue
    batch_size = world_size() * len(keys)
    alpha = spec.transform.negative_alpha
    return interpolate(queue, alpha=alpha, key=context.key, batch_size=batch_size)


def _with_queue(
    spec: InfoNCE, anchors: Tensor, keys: Tensor, queue: Tensor, view: int, context: Context
) -> Candidates:
    if spec.transform is not None and spec.transform.positive_alpha is not None:
        # The moved query scores the negatives too, as in the authors' code.
        alpha = spec.transform.positive_alpha
        anchors, keys = extrapolate(anchors, keys, alpha=alpha, key=context.key, view=view)
    positive = (anchors * keys).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, anchors @ queue.T], dim=1) / spec.temperature
    own = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    return Candidates(logits, own, len(queue))


def _with_bank(spec: InfoNCE, anchors: Tensor, context: Context) -> Candidates:
    if context.bank is None or context.indices is None:
        raise UserError("InfoNCE with negatives 'bank' was given no memory bank.")
    logits = anchors @ context.bank.to(anchors.dtype).T / spec.temperature
    return Candidates(logits, context.indices, len(context.bank) - 1)


def _unit(spec: InfoNCE, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1) if spec.normalize else x


@torch.no_grad()
def _positive_weights(spec: InfoNCE, positive: Tensor) -> Tensor:
    """DCLW: 2 - N softmax_i(s_i / sigma) over the global batch of each direction; mean 1.

    Without gradient: the paper does not say, and with it a pair could lower the loss by moving
    apart, for a larger weight.
    """
    assert spec.positive_sigma is not None
    by_direction = positive.view(len(directions(symmetric=spec.symmetric)), -1)
    exponents = by_direction * spec.temperature / spec.positive_sigma
    everyone = gather(exponents.T)  # (world N)×directions
    log_mean = torch.logsumexp(everyone, dim=0) - math.log(len(everyone))
    return (2 - torch.exp(exponents - log_mean[:, None])).flatten()


@torch.no_grad()
def _metrics(spec: InfoNCE, logits: Tensor, positive: Tensor, log_sum: Tensor) -> dict[str, Tensor]:
    # A tie does not count: a collapsed encoder scores all candidates alike.
    best = (logits >= positive[:, None]).sum(dim=1) == 1
    probabilities = torch.exp(logits - log_sum[:, None])
    entropy = log_sum - (probabilities * logits).sum(dim=1)
    coupling = -torch.expm1(positive - log_sum)
    everyone = gather(coupling)
    variation = everyone.std(correction=0) / everyone.mean().clamp(min=1e-12)
    return {
        "contrastive_accuracy": 100 * best.float().mean(),
        "contrastive_entropy": entropy.mean(),
        "positive_similarity": positive.mean() * spec.temperature,
        "coupling": coupling.mean(),
        "coupling_variation": variation,
    }
