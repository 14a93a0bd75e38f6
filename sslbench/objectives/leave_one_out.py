"""LooC's loss: MoCo's in several spaces, each of which is to tell one augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.objectives.queue import Queue
from sslbench.recipes.specs import LeaveOneOut


def leave_one_out(
    spec: LeaveOneOut, query: Tensor, keys: Tensor, queues: Sequence[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The cross-entropy of the query's own key, a mean over S spaces and N images.

    In space 0 the positive is key 0 and the negatives are queue 0. In space i > 0 the positive is
    key i, which shares augmentation i with the query, and the negatives are queue i and the image's
    other keys, key 0 among them.

    Args:
        query: N×S×D unit vectors, of each space.
        keys: N×S×S×D unit vectors without gradient: of each key, in each space.
        queues: K×D of each space.
    Returns:
        Scalar loss, and over all spaces `contrastive_accuracy` (percent of queries whose positive
        scores above all others) and `positive_similarity` (cosine); over the spaces but the first
        `augmentation_accuracy`: percent of queries whose positive scores above the image's other
        keys, 100 / S by chance.
    Source: Xiao et al. 2020, arXiv:2008.05659, Sec. 3; Manas et al. 2021 (SeCo), the code.
    """
    losses, best, told, positive = [], [], [], []
    with torch.autocast(query.device.type, enabled=False):
        for i, queue in enumerate(queues):
            own = torch.einsum("nd,njd->nj", query[:, i], keys[:, :, i])  # N×S
            positive.append(own[:, i])
            if i > 0:
                told.append(_is_first(own, i))
            compared = own if i > 0 else own[:, :1]
            logits = torch.cat([compared, query[:, i] @ queue.T], dim=1) / spec.temperature
            targets = torch.full((len(logits),), i, device=logits.device)
            losses.append(F.cross_entropy(logits, targets))
            best.append(_is_first(logits, i))
        return torch.stack(losses).mean(), {
            "contrastive_accuracy": 100 * torch.cat(best).float().mean(),
            "positive_similarity": torch.stack(positive).mean(),
            "augmentation_accuracy": 100 * torch.cat(told).float().mean(),
        }


def _is_first(scores: Tensor, column: int) -> Tensor:
    """N bool: whether that column is above all others."""
    others = scores.detach().clone()
    others[:, column].fill_(-torch.inf)
    return scores[:, column] > others.amax(dim=1)


class LeaveOneOutLoss(nn.Module):
    """The loss and its queues, each of the keys of its own space.

    Args:
        num_spaces: S.
        width: D.
        seed: of the queues' first entries.
    """

    def __init__(self, spec: LeaveOneOut, *, num_spaces: int, width: int, seed: int) -> None:
        super().__init__()
        self.spec = spec
        self.queues = nn.ModuleList(
            Queue(spec.queue, width, seed=seed + i) for i in range(num_spaces)
        )

    def forward(self, query: Tensor, keys: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `leave_one_out`."""
        entries = [queue.get_buffer("entries") for queue in self.queues]
        return leave_one_out(self.spec, query, keys, entries)

    def remember(self, keys: Tensor) -> None:
        """N×S×S×D keys of this process: of key i what it is in space i enters queue i."""
        for i, queue in enumerate(self.queues):
            assert isinstance(queue, Queue)
            queue.enqueue(keys[:, i, i])
