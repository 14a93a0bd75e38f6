"""Images as sequences of patches, and back."""

from __future__ import annotations

from torch import Tensor

from sslbench.errors import UserError

_EPSILON = 1e-6  # of the variance, as in MAE's code


def patchify(images: Tensor, patch: int) -> Tensor:
    """N×3×H×W images to N×L×(p p 3) patches.

    Patches follow each other row by row; within a patch the order is (row, column, channel).

    Args:
        patch: side p, in pixels.
    Raises:
        UserError: it does not divide the images' sides.
    Source: He et al. 2021 (MAE), Sec. 3; the order is that of the authors' code.
    """
    n, channels, height, width = images.shape
    if height % patch or width % patch:
        raise UserError(
            f"Patches of {patch} pixels do not divide images of {height}x{width}; set "
            "encoder.patch, or another resolution."
        )
    grid = images.reshape(n, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (n, h, w, p, q, c)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """N×L×(p p 3) patches of square images to the images, N×3×H×H; undoes `patchify`.

    Raises:
        UserError: L is not a square number, or a patch is not of that side.
    """
    n, length, numbers = patches.shape
    side = round(length**0.5)
    if side * side != length or numbers != 3 * patch**2:
        raise UserError(
            f"{length} patches of {numbers} numbers do not make a square image of patches of "
            f"{patch} pixels."
        )
    grid = patches.reshape(n, side, side, patch, patch, 3)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, side * patch, side * patch)


def standardize(patches: Tensor) -> Tensor:
    """Each patch less its mean, over its deviation (unbiased variance): ...×D to ...×D.

    Source: He et al. 2021 (MAE), Sec. 3, "Reconstruction target"; variance as in the authors' code.
    """
    mean, deviation = moments(patches)
    return (patches - mean) / deviation


def moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch, ...×1: the deviation is the root of the unbiased variance
    and a small number, so that a flat patch becomes zeros."""
    variance = patches.var(dim=-1, keepdim=True)
    return patches.mean(dim=-1, keepdim=True), (variance + _EPSILON).sqrt()
