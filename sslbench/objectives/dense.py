"""Losses on the cells of two views' maps: PixPro's, PixContrast's, DenseCL's.

The pure functions take cells N×D×L of each view, L of a map row by row; an objective is a small
module around one, which owns its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench import distributed
from sslbench.batch import Clock
from sslbench.objectives.candidates import Memory
from sslbench.objectives.info_nce import info_nce
from sslbench.objectives.objective import LossOutput
from sslbench.objectives.queue import Queue
from sslbench.recipes.specs import (
    DenseContrast,
    DenseObjectiveSpec,
    InfoNCE,
    PixelConsistency,
    PixelContrast,
)

_TINY = 1e-6  # of the number of pairs: the authors' code of PixPro


class Map(NamedTuple):
    """What a network makes of a view: the encoder's `features` N×C×L, and of each cell a vector,
    `cells` N×D×L: of the online network its prediction, of the target its projection."""

    features: Tensor
    cells: Tensor


Maps = Mapping[int, Map]  # by the number of the view
Pair = Sequence[Tensor]  # N×D×L of both views


def pixel_consistency(
    spec: PixelConsistency, online: Pair, target: Pair, distances: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """-scale * cos over pairs of near cells: a mean over an image's pairs, then over all images
    and both directions. An image whose views do not meet counts as 0.

    Args:
        online, target: N×D×L of view 0 and N×D×M of view 1.
        distances: N×L×M of their cells, in diagonals of a cell.
    Returns:
        Scalar loss, and `dense_similarity` (the mean cosine, of images whose views meet) and
        `overlap_share` (how many do, percent).
    Source: Xie et al. 2020 (PixPro), Eq. 6; the authors' code has scale 4.
    """
    similarities, counts = [], []
    for cosine, near in _directions(online, target, distances, spec.threshold):
        count = near.sum((1, 2))  # N
        similarities.append((cosine * near).sum((1, 2)) / (count + _TINY))
        counts.append(count)
    similarity = torch.stack(similarities)  # 2×N
    return -spec.scale * similarity.mean(), _met(similarity, counts[0] > 0)


def pixel_contrast(
    spec: PixelContrast, online: Pair, target: Pair, distances: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log of the softmax's part of the near cells, over all cells of the other view: a mean over
    an image's cells that have a near one, then over all images and both directions. An image whose
    views do not meet counts as 0.

    Args:
        online, target, distances: as of `pixel_consistency`.
    Returns:
        Scalar loss, and `dense_similarity` and `overlap_share` as there, and `dense_accuracy`
        (percent of cells that are most alike to a near one).
    Source: Xie et al. 2020 (PixPro), Eq. 2.
    """
    losses, similarities, hits, counts = [], [], [], []
    for cosine, near in _directions(online, target, distances, spec.threshold):
        logits = cosine / spec.temperature  # N×L×M
        # Finite, so that a cell without a near one has a gradient of 0 and not of NaN.
        least = torch.finfo(logits.dtype).min
        above = torch.logsumexp(torch.where(near, logits, least), dim=2)  # N×L
        paired = near.any(dim=2)  # N×L
        each = torch.where(paired, torch.logsumexp(logits, dim=2) - above, 0.0)
        cells = paired.sum(dim=1).clamp(min=1)  # N
        losses.append(each.sum(dim=1) / cells)
        best = near.gather(2, logits.argmax(dim=2, keepdim=True)).squeeze(2)
        hits.append((best & paired).sum(dim=1) / cells)
        counts.append(near.sum((1, 2)))
        similarities.append((cosine * near).sum((1, 2)) / counts[-1].clamp(min=1))
    met = counts[0] > 0
    metrics = _met(torch.stack(similarities), met)
    accuracy = 100 * _mean_of(torch.stack(hits), met)
    return torch.stack(losses).mean(), {**metrics, "dense_accuracy": accuracy}


def dense_contrast(
    spec: DenseContrast, online: Map, target: Map, *, queue: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """InfoNCE of each cell of the first view with its match in the second, against the queue; a
    mean over cells and images, without the weight.

    Args:
        online: of view 0, N×C×L and N×D×L; target: of view 1, with M cells.
        queue: K×D unit vectors.
    Returns:
        Scalar loss, and `dense_accuracy` (percent of cells whose match scores above the queue) and
        `dense_similarity` (mean cosine of a cell and its match).
    Source: Wang et al. 2020 (DenseCL), Eq. 2, and Sec. 3.3 for the matches.
    """
    place = matches(online.features, target.features)  # N×L
    wanted = place[:, None].expand(-1, target.cells.shape[1], -1)
    keys = target.cells.gather(2, wanted)  # N×D×L
    loss, metrics = info_nce(
        InfoNCE(temperature=spec.temperature, negatives="queue", queue=len(queue), symmetric=False),
        [_rows(online.cells), None],
        [None, _rows(keys)],
        memory=Memory(queue=queue),
    )
    return loss, {
        "dense_accuracy": metrics["contrastive_accuracy"],
        "dense_similarity": metrics["positive_similarity"],
    }


@torch.no_grad()
def matches(query: Tensor, key: Tensor) -> Tensor:
    """N×L int64: of each cell of N×C×L features the cell of N×C×M with the largest cosine."""
    with torch.autocast(query.device.type, enabled=False):
        return (_unit(query).transpose(1, 2) @ _unit(key)).argmax(dim=2)


class DenseObjective(nn.Module):
    """A loss on maps that owns what it remembers."""

    def __init__(self, spec: Any, *, width: int, seed: int) -> None:
        super().__init__()
        self.spec = spec

    def forward(
        self, online: Maps, target: Maps, distances: Tensor | None, clock: Clock
    ) -> LossOutput:
        """The loss of one batch, with its weight.

        Args:
            online: view 0, and view 1 where the spec is symmetric; target: the other of each.
            distances: N×L×M, where the spec reads positions.
        """
        raise NotImplementedError

    def remember(self, carry: Any) -> None:
        """Take in what a forward of this step carried, after the optimiser's step."""


class PositionLoss(DenseObjective):
    """A function of the batch's cells and their distances."""

    def forward(
        self, online: Maps, target: Maps, distances: Tensor | None, clock: Clock
    ) -> LossOutput:
        assert distances is not None
        function = _FUNCTIONS[type(self.spec)]
        cells = ([maps[view].cells for view in (0, 1)] for maps in (online, target))
        return LossOutput(*function(self.spec, *cells, distances))


class DenseContrastLoss(DenseObjective):
    """DenseCL's loss with its queue: of each past image the mean of its projected cells."""

    def __init__(self, spec: DenseContrast, *, width: int, seed: int) -> None:
        super().__init__(spec, width=width, seed=seed)
        self.queue = Queue(spec.queue, width, seed=seed)

    def forward(
        self, online: Maps, target: Maps, distances: Tensor | None, clock: Clock
    ) -> LossOutput:
        loss, metrics = dense_contrast(self.spec, online[0], target[1], queue=self.queue.entries)
        # Times 0 and not left out: every parameter keeps a gradient, which processes exchange.
        begun = torch.as_tensor(clock.epoch, device=loss.device) >= self.spec.warmup_epochs
        weight = torch.where(begun, self.spec.weight, 0.0)
        return LossOutput(weight * loss, metrics, target[1].cells.float().mean(dim=2))

    def remember(self, carry: Any) -> None:
        self.queue.enqueue(carry)


_FUNCTIONS: dict[type[DenseObjectiveSpec], Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {
    PixelConsistency: pixel_consistency,
    PixelContrast: pixel_contrast,
}
DENSE_OBJECTIVES: dict[type[DenseObjectiveSpec], Callable[..., DenseObjective]] = {
    PixelConsistency: PositionLoss,
    PixelContrast: PositionLoss,
    DenseContrast: DenseContrastLoss,
}


def _directions(
    online: Pair, target: Pair, distances: Tensor, threshold: float
) -> list[tuple[Tensor, Tensor]]:
    """Cosines and near pairs, N×L×M, of view 0 against 1 and of 1 against 0."""
    near = distances < threshold
    with torch.autocast(online[0].device.type, enabled=False):
        return [
            (_unit(online[0]).transpose(1, 2) @ _unit(target[1]), near),
            (_unit(online[1]).transpose(1, 2) @ _unit(target[0]), near.transpose(1, 2)),
        ]


@torch.no_grad()
def _met(similarity: Tensor, met: Tensor) -> dict[str, Tensor]:
    """What is said of 2×N mean cosines, of which those of N images whose views meet count."""
    return {
        "dense_similarity": _mean_of(similarity, met),
        "overlap_share": 100 * met.float().mean(),
    }


@torch.no_grad()
def _mean_of(values: Tensor, met: Tensor) -> Tensor:
    """Of V×N values the mean over those images of all processes that are met; 0 of none."""
    sums = torch.stack([(values * met).mean(dim=0).sum(), met.sum().to(values.dtype)])
    total, count = distributed.mean(sums)
    return total / count.clamp(min=torch.finfo(values.dtype).tiny)


def _unit(cells: Tensor) -> Tensor:
    """N×D×L unit vectors in float32 (float64 stays)."""
    wide = cells if cells.dtype == torch.float64 else cells.float()
    return F.normalize(wide, dim=1)


def _rows(cells: Tensor) -> Tensor:
    """(N L)×D of N×D×L."""
    return cells.transpose(1, 2).flatten(0, 1)
