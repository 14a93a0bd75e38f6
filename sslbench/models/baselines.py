"""Representations without parameters: what pixels and colours alone tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RawPixelEncoder(nn.Module):
    """The normalised image, flattened."""

    def __init__(self, *, resolution: int) -> None:
        super().__init__()
        self.num_features = 3 * resolution**2

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W to N×3HW."""
        return images.flatten(1)


class ColorHistogramEncoder(nn.Module):
    """The share of an image's pixels in each cell of the RGB cube, bins**3 cells.

    Args:
        bins: cells along each colour, of equal width between black and white.
        mean, std: the normalisation to undo, per channel; by default images lie in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        bins: int,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.bins = bins
        self.num_features = bins**3
        # They belong to the data, not to the encoder: a checkpoint does not hold them.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W normalised to N×bins³, each row summing to 1."""
        # Back to whole grey levels first, so that rounding moves no pixel to the next bin.
        levels = ((images.float() * self.std + self.mean) * 255).round().clamp(0, 255).long()
        red, green, blue = (levels * self.bins // 256).flatten(2).unbind(1)  # each N×HW
        cells = (red * self.bins + green) * self.bins + blue
        counts = torch.zeros(len(images), self.num_features, device=images.device)
        counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=counts.dtype))
        return counts / cells.shape[1]
