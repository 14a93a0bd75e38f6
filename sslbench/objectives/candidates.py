"""What an anchor is compared with: its positive and its negatives, as rows of scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
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
    """A anchors against C candidates each, in B pairs of an anchor and a positive.

    An anchor with several positives (NT-Xent of many views) is one row of scores and several
    pairs; for each of them the other positives do not count.

    Attributes:
        scores: A×C similarities, or logits; an entry that does not count is the least number of
            the type.
        own: B int64, the column of each pair's positive.
        num_negatives: candidates of one anchor that count, less the positives.
        anchor: B int64, the row of each pair; None where every anchor has one positive.
    """

    scores: Tensor
    own: Tensor
    num_negatives: int
    anchor: Tensor | None = None

    def positive(self) -> Tensor:
        """B scores of the positives."""
        if self.anchor is None:
            return self.scores.gather(1, self.own[:, None])[:, 0]
        return self.scores[self.anchor, self.own]

    def negatives(self) -> Tensor:
        """A×C scores in which no positive counts."""
        # Finite: `entropy` multiplies scores by probabilities, and 0 times -inf is NaN.
        least = torch.finfo(self.scores.dtype).min
        if self.anchor is None:
            return self.scores.scatter(1, self.own[:, None], least)
        return self.scores.index_put((self.anchor, self.own), self.scores.new_full((), least))

    def log_sum(self) -> tuple[Tensor, Tensor]:
        """B logarithms of the sum of exp(score) over a pair's positive and the negatives, and B
        entropies, nats and without gradient, of the softmax over them."""
        if self.anchor is None:
            return _log_sum_exp(self.scores)
        # An anchor's other positives are no negatives of this pair: the sum over negatives, which
        # all its pairs share, and the pair's own positive.
        positive = self.positive()
        below, entropy = _log_sum_exp(self.negatives())  # A each
        log_sum = torch.logaddexp(positive, below[self.anchor])
        with torch.no_grad():
            # log sum_j e^s_j - E[s], with E[s] split into the pair's positive and the negatives.
            mean = (below - entropy)[self.anchor]
            own = torch.exp(positive - log_sum)
            return log_sum, log_sum - own * positive - (1 - own) * mean

    def one_each(self) -> Candidates:
        """The same pairs with a row of scores for each, the positive first where rows are made."""
        if self.anchor is None:
            return self
        # B×(1 + C): an anchor's negatives once for each of its pairs.
        scores = torch.cat([self.positive()[:, None], self.negatives()[self.anchor]], dim=1)
        return Candidates(scores, torch.zeros_like(self.own), self.num_negatives)

    def is_best(self) -> Tensor:
        """B bool: the positive scores above all negatives. A tie does not count: a collapsed
        encoder scores all candidates alike."""
        best = self.negatives().amax(dim=1)  # A
        return self.positive() > (best if self.anchor is None else best[self.anchor])


@dataclass(frozen=True)
class Memory:
    """What an anchor is compared with besides the batch, by `negatives`.

    Attributes:
        queue: K×D keys of past batches.
        bank: M×D unit vectors, one for each training image; read before this step updates it.
        indices: N int64, the training images of this process's rows.
        key: of this step's random numbers, for `transform`.
    """

    queue: Tensor | None = None
    bank: Tensor | None = None
    indices: Tensor | None = None
    key: int | Tensor = 0


NO_MEMORY = Memory()


def compare(spec: InfoNCE, online: Embeddings, target: Embeddings, *, memory: Memory) -> Candidates:
    """Logits, similarities over the temperature, of the anchors of all directions in turn.

    Args:
        online, target: as `info_nce`'s.
        memory: read as `negatives` says.
    Returns:
        Candidates of N anchors a direction: all images' rows of one or all target views, the
        positive and the queue (both as `transform` moves them), or the memory bank.
    Raises:
        UserError: shapes differ, fewer than two images without a queue, no queue or bank given.
    """
    if spec.negatives == "bank":
        views = anchor_views(symmetric=spec.symmetric, num_views=len(online))
        parts = [_with_bank(spec, _anchors(spec, online, view), memory) for view in views]
        return _concatenate(parts)
    every = spec.negatives == "both_views"
    num_targets = len(target) if every else 2
    pairs = directions(symmetric=spec.symmetric, num_views=len(online), num_targets=num_targets)
    needed = range(num_targets) if every else sorted({other for _, other in pairs})
    rows = {v: _unit(spec, select(target, v, name="target")) for v in needed}  # N×D each
    parts = []
    if spec.negatives == "queue":
        # Every view of the global batch has draws of its own, before the queue's.
        queue = _queue(spec, memory, batch_size=world_size() * len(rows[1]), views=len(online))
        for view, other in pairs:
            anchors = _anchors(spec, online, view, like=rows[other])
            parts.append(_with_queue(spec, anchors, rows[other], queue, view, memory))
        return _concatenate(parts)
    if world_size() * len(rows[1]) < 2:
        raise UserError("InfoNCE needs at least two images in a batch; raise batch_size.")
    # R×(world N)×D. SimCLR's candidates carry a gradient: as constants they would give the same
    # loss and a smaller gradient.
    everyone = torch.stack([gather_rows(rows[view]) for view in sorted(rows)])
    if not every:
        for view, other in pairs:
            anchors = _anchors(spec, online, view, like=rows[other])
            place = sorted(rows).index(other)
            parts.append(_with_batch(spec, anchors, everyone[place]))
        return _concatenate(parts)
    for view in dict.fromkeys(view for view, _ in pairs):
        others = [other for anchor, other in pairs if anchor == view]
        anchors = _anchors(spec, online, view, like=rows[others[0]])
        parts.append(_with_all_views(spec, anchors, everyone, view, others))
    return _concatenate(parts)


def _anchors(spec: InfoNCE, online: Embeddings, view: int, like: Tensor | None = None) -> Tensor:
    anchors = select(online, view, name="online")
    if like is not None:
        require_same_shape(anchors, like)
    return _unit(spec, anchors)


def _own(anchors: Tensor) -> Tensor:
    """The rows of this process's images in the global batch, n int64."""
    return torch.arange(len(anchors), device=anchors.device) + rank() * len(anchors)


def _with_batch(spec: InfoNCE, anchors: Tensor, rows: Tensor) -> Candidates:
    """Against one view of the global batch, M×D, the positive among them."""
    logits = anchors / spec.temperature @ rows.T  # n×M
    return Candidates(logits, _own(anchors), len(rows) - 1)


def _with_all_views(
    spec: InfoNCE, anchors: Tensor, rows: Tensor, view: int, others: list[int]
) -> Candidates:
    """Anchors of `view` against R views of the global batch, R×M×D: the positives are their image
    in the views `others`, the negatives all views of other images."""
    num_views, count, width = rows.shape
    logits = anchors / spec.temperature @ rows.view(num_views * count, width).T  # n×(R M)
    own = _own(anchors)
    if view < num_views:  # not with itself
        itself = (own + view * count)[:, None]
        logits = logits.scatter(1, itself, torch.finfo(logits.dtype).min)
    n = len(anchors)
    # Columns of the positives, one pair after the other for each other view.
    columns = torch.cat([own + other * count for other in others])
    anchor = torch.arange(n, device=own.device).repeat(len(others)) if len(others) > 1 else None
    return Candidates(logits, columns, num_views * (count - 1), anchor)


def _queue(spec: InfoNCE, memory: Memory, *, batch_size: int, views: int) -> Tensor:
    """The negatives of this step, K×D."""
    if memory.queue is None:
        raise UserError("InfoNCE with negatives 'queue' was given no queue.")
    if spec.transform is None:
        return memory.queue
    return interpolate(
        spec.transform, memory.queue, key=memory.key, batch_size=batch_size, views=views
    )


def _with_queue(
    spec: InfoNCE, anchors: Tensor, keys: Tensor, queue: Tensor, view: int, memory: Memory
) -> Candidates:
    if spec.transform is not None:
        # The moved query scores the negatives too, as in the authors' code.
        anchors, keys = extrapolate(spec.transform, anchors, keys, key=memory.key, view=view)
    # A key is compared with its own query only, not with the batch (MoCo's Algorithm 1, whose
    # column 0 is the positive).
    anchors = anchors / spec.temperature
    positive = (anchors * keys).sum(dim=1, keepdim=True)  # n×1
    logits = torch.cat([positive, anchors @ queue.to(anchors.dtype).T], dim=1)  # n×(1 + K)
    own = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    return Candidates(logits, own, len(queue))


def _with_bank(spec: InfoNCE, anchors: Tensor, memory: Memory) -> Candidates:
    if memory.bank is None or memory.indices is None:
        raise UserError("InfoNCE with negatives 'bank' was given no memory bank.")
    logits = anchors / spec.temperature @ memory.bank.to(anchors.dtype).T  # n×M
    return Candidates(logits, memory.indices, len(memory.bank) - 1)


def _log_sum_exp(scores: Tensor) -> tuple[Tensor, Tensor]:
    """A logarithms of the sum of exp(score) over a row of A×C, and A entropies of its softmax.

    The exponentials of all scores are what takes time, with many candidates: they are taken once,
    for the sum, its gradient and the entropy.
    """
    with torch.no_grad():
        probabilities = torch.softmax(scores, dim=1)
        # The largest is at least 1 / C, so that its logarithm is exact.
        log_sum = scores.amax(dim=1) - probabilities.amax(dim=1).log()
    mean = torch.linalg.vecdot(scores, probabilities)
    # Of E[s] with the probabilities held the gradient is the probabilities, as of the log-sum-exp.
    return log_sum + (mean - mean.detach()), log_sum - mean.detach()


def _unit(spec: InfoNCE, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1) if spec.normalize else x


def _concatenate(parts: list[Candidates]) -> Candidates:
    """The anchors of all parts, which have C and the number of negatives in common."""
    anchor = None
    if any(part.anchor is not None for part in parts):
        rows, start = [], 0
        for part in parts:
            every = torch.arange(len(part.scores), device=part.own.device)
            rows.append(start + (every if part.anchor is None else part.anchor))
            start += len(part.scores)
        anchor = torch.cat(rows)
    return Candidates(
        torch.cat([part.scores for part in parts]),
        torch.cat([part.own for part in parts]),
        parts[0].num_negatives,
        anchor,
    )
