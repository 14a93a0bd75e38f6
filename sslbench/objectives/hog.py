"""Histograms of oriented gradients as targets of patches."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.errors import UserError
from sslbench.objectives.patch_targets import PatchTargets, full_precision
from sslbench.recipes.specs import HOG


class HOGTargets(PatchTargets):
    """The histograms of a patch's cells, in the order (channel, bin, cell row, cell column)."""

    def __init__(self, spec: HOG, *, patch: int, seed: int) -> None:
        super().__init__(spec, patch=patch)
        self.bins, self.cell = spec.bins, spec.cell

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            histograms = hog(full_precision(images), bins=self.bins, cell=self.cell)
        n, channels, bins, height, width = histograms.shape
        side = self.patch // self.cell  # cells of a patch
        if (height * self.cell) % self.patch or (width * self.cell) % self.patch:
            raise UserError(
                f"Patches of {self.patch} pixels do not divide images of {images.shape[2]}x"
                f"{images.shape[3]}; set encoder.patch, or another resolution."
            )
        grid = histograms.reshape(n, channels * bins, height // side, side, width // side, side)
        return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def to_pixels(self, predicted: Tensor, images: Tensor) -> Tensor:
        raise UserError("Histograms of gradients cannot be drawn as pixels; choose another target.")


def hog(images: Tensor, *, bins: int, cell: int) -> Tensor:
    """Histograms of the directions of a channel's gradients, unsigned: N×3×bins×(H/cell)×(W/cell).

    A pixel adds the length of its gradient (Sobel's, edges mirrored) to the bin of its angle,
    atan2(x, y) from 0 to pi; each histogram then has length 1, or is zero where nothing changes.

    Args:
        images: N×3×H×W, of sides >= 2, normalised as the network sees them: MaskFeat takes its
            histograms of those too.
        bins: that share half a turn.
        cell: side in pixels; what is left over at the right and below is not read.
    Source: Wei et al. 2021 (MaskFeat), Sec. 3.2; Sobel's filter, the bins and the order of the two
        gradients in atan2 are of the authors' code, which neither interpolates between bins nor
        normalises over blocks.
    """
    across, down = _gradients(images)
    places = (torch.atan2(across, down) / math.pi * bins).floor().long() % bins
    # Each pixel writes to a place of its own, so that the sums have one order on a GPU too.
    votes = images.new_zeros(*images.shape[:2], bins, *images.shape[2:])  # N×3×bins×H×W
    votes.scatter_(2, places[:, :, None], torch.hypot(across, down)[:, :, None])
    sums = F.avg_pool2d(votes.flatten(0, 1), cell, divisor_override=1)
    return F.normalize(sums.unflatten(0, images.shape[:2]), dim=2)


def _gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's two, N×3×H×W each: left less right, and above less below. Sums of slices, since a
    convolution may be computed in less than float32 on a GPU."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    across = padded[..., :-2] - padded[..., 2:]  # N×3×(H+2)×W
    down = padded[..., :-2, :] - padded[..., 2:, :]  # N×3×H×(W+2)
    return (
        across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
    )
