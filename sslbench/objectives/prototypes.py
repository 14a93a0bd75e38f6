"""Prototypes: unit vectors that embeddings are scored against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.recipes import specs


class Prototypes(nn.Module):
    """H heads of K unit vectors in D dimensions; their scores are cosines.

    Args:
        spec: heads, count and how the vectors keep their length.
        width: D.
    Source: Caron et al. 2020, arXiv:2006.09882, Sec. 3.1 (renormalised rows); Caron et al. 2021,
        arXiv:2104.14294, App. C (weight norm of constant length 1).
    """

    weight: nn.Parameter

    def __init__(self, spec: specs.Prototypes, width: int) -> None:
        super().__init__()
        self.weight_norm = spec.constraint == "weight_norm"
        start = torch.randn(spec.heads, spec.count, width)  # uniform directions, once normalised
        self.weight = nn.Parameter(F.normalize(start, dim=2))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine scores in float32 (float64 stays), n×D of any length to n×H×K."""
        with torch.autocast(embeddings.device.type, enabled=False):
            if embeddings.dtype != torch.float64:
                embeddings = embeddings.float()
            weight = self.weight.to(embeddings.dtype)
            if self.weight_norm:
                # Weight norm: the gradient turns a vector, whose length counts for nothing.
                weight = F.normalize(weight, dim=2)
            heads, count, width = weight.shape
            # Cosines: temperatures and Sinkhorn's epsilon are meant for values within ±1.
            scores = F.normalize(embeddings, dim=1) @ weight.view(heads * count, width).T  # n×(H K)
            return scores.view(len(embeddings), heads, count)

    @torch.no_grad()
    def renormalize(self) -> None:
        """Put the vectors back on the sphere; after an update. With weight norm nothing is to do:
        the length of the free weight does not matter."""
        if not self.weight_norm:
            self.weight.copy_(F.normalize(self.weight, dim=2))

    @torch.no_grad()
    def replace(self, vectors: Tensor) -> None:
        """Take H×K×D vectors of any length as the prototypes."""
        self.weight.copy_(F.normalize(vectors.to(self.weight), dim=2))
