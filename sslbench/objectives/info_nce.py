"""InfoNCE: NT-Xent, MoCo's loss, MoCo v3's, and BYOL's form with weighted negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.context import NOTHING, Context
from sslbench.objectives.embeddings import (
    Embeddings,
    directions,
    gather_rows,
    require_same_shape,
    select,
)
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
    loss without its factor 2 * temperature; over the `queue` MoCo's (Eq. 1). With scale
    2 * temperature it is BYOL's Eq. 8 (App. F.5), negated.

    Args:
        online: the anchors, N×D of each view; computed in float32.
        target: the candidates, N×D of each view. They are gathered over processes, with gradient
            where they carry one.
        context: its queue is read when `negatives` is "queue". Enqueue after the backward pass.
    Returns:
        Scalar loss, and `contrastive_accuracy` (percent of anchors whose positive scores above
        all others), `contrastive_entropy` (nats, of the softmax over logits),
        `positive_similarity` (of unit vectors, the cosine).
    Raises:
        UserError: shapes differ, fewer than two images without a queue, or no queue given.
    """
    pairs = directions(symmetric=spec.symmetric)
    device = select(target, 1, name="target").device.type
    with torch.autocast(device, enabled=False):
        candidates = _candidates(spec, target)
        logits, positives = zip(
            *(
                _logits(spec, online, view, other, candidates, context.queue)
                for view, other in pairs
            ),
            strict=True,
        )
        all_logits, positive = torch.cat(logits), torch.cat(positives)
        log_sum = torch.logsumexp(all_logits, dim=1)
        loss = -positive.mean()
        if spec.negative_weight > 0:
            loss = loss + spec.negative_weight * log_sum.mean()
        return spec.scale * loss, _metrics(spec, all_logits, positive, log_sum)


def _candidates(spec: InfoNCE, target: Embeddings) -> dict[int, Tensor]:
    """All processes' target rows of the views that are read: view to (world N)×D."""
    needed = {0, 1} if spec.symmetric or spec.negatives == "both_views" else {1}
    rows = {v: _unit(spec, select(target, v, name="target")) for v in sorted(needed)}
    if spec.negatives == "queue":
        return rows
    if world_size() * len(rows[1]) < 2:
        raise UserError("InfoNCE needs at least two images in a batch; raise batch_size.")
    return {v: gather_rows(x) for v, x in rows.items()}


def _logits(
    spec: InfoNCE,
    online: Embeddings,
    view: int,
    other: int,
    candidates: dict[int, Tensor],
    queue: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Anchors' logits N×M and, among them, those of the positives: N."""
    anchors = _unit(spec, select(online, view, name="online"))
    if spec.negatives == "queue":
        if queue is None:
            raise UserError("InfoNCE with negatives 'queue' was given no queue.")
        require_same_shape(anchors, candidates[other])
        positive = (anchors * candidates[other]).sum(dim=1, keepdim=True)
        negatives = anchors @ queue.to(anchors.dtype).T
        logits = torch.cat([positive, negatives], dim=1) / spec.temperature
        return logits, logits[:, 0]
    n = len(anchors)
    own = slice(rank() * n, (rank() + 1) * n)
    require_same_shape(anchors, candidates[other][own])
    logits = anchors @ candidates[other].T / spec.temperature
    positive = logits[:, own].diagonal()
    if spec.negatives == "both_views":
        same = anchors @ candidates[view].T / spec.temperature
        itself = torch.zeros_like(same, dtype=torch.bool)
        itself[:, own].fill_diagonal_(True)
        same = same.masked_fill(itself, torch.finfo(same.dtype).min)
        logits = torch.cat([logits, same], dim=1)
    return logits, positive


def _unit(spec: InfoNCE, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1) if spec.normalize else x


@torch.no_grad()
def _metrics(spec: InfoNCE, logits: Tensor, positive: Tensor, log_sum: Tensor) -> dict[str, Tensor]:
    # A tie does not count: a collapsed encoder scores all candidates alike.
    best = (logits >= positive[:, None]).sum(dim=1) == 1
    probabilities = torch.exp(logits - log_sum[:, None])
    entropy = log_sum - (probabilities * logits).sum(dim=1)
    return {
        "contrastive_accuracy": 100 * best.float().mean(),
        "contrastive_entropy": entropy.mean(),
        "positive_similarity": positive.mean() * spec.temperature,
    }
