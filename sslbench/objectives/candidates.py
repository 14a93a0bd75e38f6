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
    anchor_views,
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
        Candidates of N anchors a direction: all images' rows of one or all target views, the
        positive and the queue (both as `transform` moves them), or the memory bank. An anchor of
        several positives is there once for each, without the others among its candidates.
    Raises:
        UserError: shapes differ, fewer than two images without a queue, no queue or bank given.
    """
    if spec.negatives == "bank":
        views = anchor_views(symmetric=spec.symmetric, num_views=len(online))
        parts = [_with_bank(spec, _anchors(spec, online, view), context) for view in views]
        return _concatenate(parts)
    every = spec.negatives == "both_views"
    num_targets = len(target) if every else 2
    pairs = directions(symmetric=spec.symmetric, num_views=len(online), num_targets=num_targets)
    needed = range(num_targets) if every else sorted({other for _, other in pairs})
    rows = {v: _unit(spec, select(target, v, name="target")) for v in needed}
    parts = []
    if spec.negatives == "queue":
        # Every view of the global batch has draws of its own, before the queue's.
        queue = _queue(spec, context, batch_size=world_size() * len(rows[1]), views=len(online))
        for view, other in pairs:
            anchors = _anchors(spec, online, view, like=rows[other])
            parts.append(_with_queue(spec, anchors, rows[other], queue, view, context))
        return _concatenate(parts)
    if world_size() * len(rows[1]) < 2:
        raise UserError("InfoNCE needs at least two images in a batch; raise batch_size.")
    everyone = {view: gather_rows(x) for view, x in rows.items()}
    for view, other in pairs:
        anchors = _anchors(spec, online, view, like=rows[other])
        parts.append(_with_batch(spec, anchors, everyone, other))
    return _concatenate(parts)


def _anchors(spec: InfoNCE, online: Embeddings, view: int, like: Tensor | None = None) -> Tensor:
    anchors = select(online, view, name="online")
    if like is not None:
        require_same_shape(anchors, like)
    return _unit(spec, anchors)


def _with_batch(spec: InfoNCE, anchors: Tensor, rows: dict[int, Tensor], other: int) -> Candidates:
    """Against the rows of view `other`, the positive among them, and with `both_views` against
    those of all other views, the anchor's own included, that show other images."""
    n = len(anchors)
    own = torch.arange(n, device=anchors.device) + rank() * n
    logits = anchors @ rows[other].T / spec.temperature
    num_negatives = logits.shape[1] - 1
    if spec.negatives == "both_views":
        itself = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, own[:, None], True)
        least = torch.finfo(logits.dtype).min
        for rest in (rows[view] for view in rows if view != other):
            more = (anchors @ rest.T / spec.temperature).masked_fill(itself, least)
            logits = torch.cat([logits, more], dim=1)
        num_negatives *= len(rows)
    return Candidates(logits, own, num_negatives)


def _queue(spec: InfoNCE, context: Context, *, batch_size: int, views: int) -> Tensor:
    """The negatives of this step, K×D."""
    if context.queue is None:
        raise UserError("InfoNCE with negatives 'queue' was given no queue.")
    if spec.transform is None or spec.transform.negative_alpha is None:
        return context.queue
    alpha = spec.transform.negative_alpha
    return interpolate(
        context.queue, alpha=alpha, key=context.key, batch_size=batch_size, views=views
    )


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
