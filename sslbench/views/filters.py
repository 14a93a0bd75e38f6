"""Operations that look at a pixel's neighbours or place: blur, Sobel, noise, cutout, rotation.

All work on the whole batch; N bool `chosen` says which images change. Images N×3×H×W in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from sslbench.errors import UserError
from sslbench.views.color import luminance
from sslbench.views.fusing import fused

NOISE_STD = 0.1  # torchvision's default; SimCLR does not print its own
CUTOUT_SHARE = 0.5  # side of the patch over the side of the image, DeVries and Taylor's 16 of 32


def blur_kernel_side(side: int) -> int:
    """The odd number nearest to a tenth of the image's side, at least 3 (SimCLR, Appendix A)."""
    return max(3, 2 * round((side / 10 - 1) / 2) + 1)


def blur_taps(sigma: Tensor, chosen: Tensor, *, kernel: int) -> Tensor:
    """N×kernel weights of a Gaussian of each image's own `sigma` (N, pixels), for `weighted_blur`.

    Where not chosen they are the identity's: those images pass exactly, and no mask is applied to
    pixels. Weights below float32's last digit of 1 are 0.
    """
    offset = torch.arange(kernel, device=sigma.device, dtype=torch.float32) - kernel // 2
    taps = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, dim=1)
    taps = torch.where(taps < 2.0**-24, 0.0, taps)
    return torch.where(chosen[:, None], taps, (offset == 0).to(taps.dtype))


def weighted_blur(images: Tensor, taps: Tensor) -> Tensor:
    """Each image's neighbours along both axes, weighted by its row of `taps` (N×kernel, an odd
    number), mirrored at the border.

    Raises:
        UserError: the window reaches further than the image is wide.
    Source: torchvision's gaussian_blur; SimCLR, Appendix A.
    """
    height, width = images.shape[-2:]
    kernel = taps.shape[1]
    reach = kernel // 2
    if reach >= min(height, width):
        raise UserError(f"A blur kernel of {kernel} pixels does not fit a {height}x{width} view; "
                        "set blur.kernel to an odd number below twice the side.")  # fmt: skip
    return _blur(images, _without_zeros(taps))


def _without_zeros(taps: Tensor) -> Tensor:
    """Without outer taps that are 0 in all rows, where to look costs no wait; the reach is made a
    multiple of 4, since each is compiled by itself."""
    if torch.compiler.is_compiling() or taps.device.type != "cpu":
        return taps
    reach = taps.shape[1] // 2
    used = int((taps[:, reach + 1 :] != 0).any(0).sum())
    unused = max(0, reach - -(-used // 4) * 4)
    return taps[:, unused : taps.shape[1] - unused]


@fused
def _blur(images: Tensor, taps: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    kernel = taps.shape[1]
    x = _mirror(images, kernel // 2, 2)
    x = _weighted_sum([x[:, :, k : k + height] for k in range(kernel)], taps)
    x = _mirror(x, kernel // 2, 3)
    return _weighted_sum([x[..., k : k + width] for k in range(kernel)], taps)


def _mirror(images: Tensor, reach: int, axis: int) -> Tensor:
    """Padded by its reflection, in pieces: compiled code would read `pad`'s pixel by pixel."""
    side = images.shape[axis]
    before, after = (images.narrow(axis, k, reach).flip(axis) for k in (1, side - 1 - reach))
    return torch.cat([before, images, after], axis)


def _weighted_sum(shifted: list[Tensor], taps: Tensor) -> Tensor:
    """K tensors N×C×H×W, each times its column of the N×K weights, added up."""
    weights = taps[:, :, None, None, None]
    x = shifted[0] * weights[:, 0]
    for k in range(1, len(shifted)):
        x.addcmul_(shifted[k], weights[:, k])
    return x


def sobel(images: Tensor, chosen: Tensor) -> Tensor:
    """The Sobel gradient's magnitude of the grey image, in all channels, clamped to 1.

    Scaled so that a step of height 1 gives 1; the border repeats its outermost pixels.
    """
    x = pad(luminance(images), (1, 1, 1, 1), mode="replicate")
    difference, smooth = x[..., 2:] - x[..., :-2], x[..., 2:] + 2 * x[..., 1:-1] + x[..., :-2]
    gx = difference[..., 2:, :] + 2 * difference[..., 1:-1, :] + difference[..., :-2, :]
    gy = smooth[..., 2:, :] - smooth[..., :-2, :]
    edges = (0.25 * torch.sqrt(gx * gx + gy * gy)).clamp(max=1.0)
    return torch.where(chosen[:, None, None, None], edges, images)


def gaussian_noise(images: Tensor, noise: Tensor, chosen: Tensor) -> Tensor:
    """Add NOISE_STD times the standard normal `noise` (N×3×H×W) and clamp to [0, 1]."""
    noisy = (images + NOISE_STD * noise).clamp(0.0, 1.0)
    return torch.where(chosen[:, None, None, None], noisy, images)


def cutout(images: Tensor, centre: Tensor, chosen: Tensor, *, fill: Sequence[float]) -> Tensor:
    """Fill a square of half the image's side, centred anywhere, so that part may fall outside.

    Args:
        centre: N×2 uniform numbers, the row and column of the centre over height and width.
        fill: 3 values; the data's mean, which normalises to the paper's zero.
    Source: DeVries and Taylor 2017, "Improved Regularization of CNNs with Cutout", Sec. 3.2.
    """
    height, width = images.shape[-2:]
    half = round(CUTOUT_SHARE * min(height, width)) // 2
    y, x = torch.floor(centre[:, :1] * height), torch.floor(centre[:, 1:] * width)  # N×1 each
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    inside_y = (row >= y - half) & (row < y + half) & chosen[:, None]  # N×H
    inside_x = (column >= x - half) & (column < x + half)  # N×W
    patch = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    channels = [torch.where(patch[:, 0], fill[k], images[:, k]) for k in range(3)]
    return torch.stack(channels, dim=1)


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate each image by `turns` (N int64, 0 to 3) quarter turns, counter-clockwise.

    Raises:
        UserError: the images are not square.
    """
    if images.shape[-2] != images.shape[-1]:
        raise UserError("Quarter turns need square images; put crop before rotate in the order.")
    half = torch.where((turns >= 2)[:, None, None, None], images.flip(2, 3), images)
    quarter = half.transpose(2, 3).flip(2)
    return torch.where((turns % 2 == 1)[:, None, None, None], quarter, half)
