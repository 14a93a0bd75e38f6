"""What an anchor is compared with: its positive and its negatives, as rows of scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.context import Context
from sslbench.objectives.embeddings import (
    Embeddings,
    directions,
    gather_rows,
    require_same_shape,
    select,
)
from sslbench.objectives.transformation import extrapolate, interpolate
from sslbench.recipes.specs import InfoNCE


@dataclass(frozen=True)
class Candidates:
    """A anchors against C candidates each.

    Attributes:
        scores: A×C similarities, or logits; an entry that does not count is the least number of
            the type.
        own: A int64, the column of each anchor's positive.
        num_negatives: candidates of one anchor that count, less the positive.
    """

    scores: Tensor
    own: Tensor
    num_negatives: int

    def positive(self) -> Tensor:
        """A scores of the positives."""
        return self.scores.gather(1, self.own[:, None])[:, 0]

    def negatives(self) -> Tensor:
        """A×C scores in which the positive does not count."""
        least = torch.finfo(self.scores.dtype).min
        return self.scores.scatter(1, self.own[:, None], least)


def compare(
    spec: InfoNCE, online: Embeddings, target: Embeddings, *, context: Context
) -> Candidates:
    """Logits, similarities over the temperature, of the anchors of all directions in turn.

    Args:
        online, target, context: as `info_nce`'s.
    Returns:
        Candidates of N anchors a direction: all images' rows of one or both views, the positive
        and the queue (both as `transform` moves them), or the memory bank.
    Raises:
        UserError: shapes differ, fewer than two images without a queue, no queue or bank given.
    """
    pairs = directions(symmetric=spec.symmetric)
    if spec.negatives == "bank":
        parts = [_with_bank(spec, _anchors(spec, online, view), context) for view, _ in pairs]
        return _concatenate(parts)
    needed = {0, 1} if spec.symmetric or spec.negatives == "both_views" else {1}
    rows = {v: _unit(spec, select(target, v, name="target")) for v in sorted(needed)}
    parts = []
    if spec.negatives == "queue":
        queue = _queue(spec, context, batch_size=world_size() * len(rows[1]))
        for view, other in pairs:
            anchors = _anchors(spec, online, view, like=rows[other])
            parts.append(_with_queue(spec, anchors, rows[other], queue, view, context))
        return _concatenate(parts)
    if world_size() * len(rows[1]) < 2:
        raise UserError("InfoNCE needs at least two images in a batch; raise batch_size.")
    everyone = {view: gather_rows(x) for view, x in rows.items()}
    for view, other in pairs:
        anchors = _anchors(spec, online, view, like=rows[other])
        parts.append(_with_batch(spec, anchors, everyone, view, other))
    return _concatenate(parts)


def _anchors(spec: InfoNCE, online: Embeddings, view: int, like: Tensor | None = None) -> Tensor:
    anchors = select(online, view, name="online")
    if like is not None:
        require_same_shape(anchors, like)
    return _unit(spec, anchors)


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


def _queue(spec: InfoNCE, context: Context, *, batch_size: int) -> Tensor:
    """The negatives of this step, K×D."""
    if context.queue is None:
        raise UserError("InfoNCE with negatives 'queue' was given no queue.")
    if spec.transform is None or spec.transform.negative_alpha is None:
        return context.queue
    alpha = spec.transform.negative_alpha
    return interpolate(context.queue, alpha=alpha, key=context.key, batch_size=batch_size)


def _with_queue(
    spec: InfoNCE, anchors: Tensor, keys: Tensor, queue: Tensor, view: int, context: Context
) -> Candidates:
    if spec.transform is not None and spec.transform.positive_alpha is not None:
        # The moved query scores the negatives too, as in the authors' code.
        alpha = spec.transform.positive_alpha
        anchors, keys = extrapolate(anchors, keys, alpha=alpha, key=context.key, view=view)
    positive = (anchors * keys).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, anchors @ queue.to(anchors.dtype).T], dim=1) / spec.temperature
    own = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    return Candidates(logits, own, len(queue))


def _with_bank(spec: InfoNCE, anchors: Tensor, context: Context) -> Candidates:
    if context.bank is None or context.indices is None:
        raise UserError("InfoNCE with negatives 'bank' was given no memory bank.")
    logits = anchors @ context.bank.to(anchors.dtype).T / spec.temperature
    return Candidates(logits, context.indices, len(context.bank) - 1)


def _unit(spec: InfoNCE, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1) if spec.normalize else x


def _concatenate(parts: list[Candidates]) -> Candidates:
    """The anchors of all parts, which have C and the number of negatives in common."""
    return Candidates(
        torch.cat([part.scores for part in parts]),
        torch.cat([part.own for part in parts]),
        parts[0].num_negatives,
    )
