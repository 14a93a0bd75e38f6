"""What an anchor is compared with: its positive and its negatives, as rows of scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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


def concatenate(parts: list[Candidates]) -> Candidates:
    """The anchors of all parts, which have C and the number of negatives in common."""
    return Candidates(
        torch.cat([part.scores for part in parts]),
        torch.cat([part.own for part in parts]),
        parts[0].num_negatives,
    )
