"""Colour operations on whole batches with per-sample parameters; images N×3×H×W in [0, 1].

The definitions are torchvision's for float tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.recipes.specs import Jitter

LUMINANCE = (0.2989, 0.587, 0.114)  # ITU-R 601-2, the digits torchvision uses
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def luminance(images: Tensor) -> Tensor:
    """The grey value of each pixel: N×1×H×W."""
    r, g, b = images[:, :1], images[:, 1:2], images[:, 2:]
    return (r * LUMINANCE[0]).add_(g, alpha=LUMINANCE[1]).add_(b, alpha=LUMINANCE[2])


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Grey in all three channels where `chosen` (N bool)."""
    return torch.where(chosen[:, None, None, None], luminance(images), images)


def solarize(images: Tensor, chosen: Tensor, *, threshold: float) -> Tensor:
    """Invert the values at or above `threshold` where `chosen` (N bool)."""
    inverted = (images >= threshold) & chosen[:, None, None, None]
    return torch.where(inverted, 1.0 - images, images)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue of each image by `shift` (N, in turns of the colour circle), through HSV.

    With the hue h in [0, 6], the channels are `low + chroma * clamp(w, 0, 1)` with w = |h-3| - 1
    for red, 2 - |h-2| for green and 2 - |h-4| for blue, so the six sectors need no branch.
    """
    r, g, b = images.unbind(1)  # N×H×W each
    value = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = value - low
    divisor = torch.where(chroma == 0, 1.0, chroma)  # grey has no hue, and no chroma to show one
    hue = torch.where(
        value == r,
        (g - b).div_(divisor),
        torch.where(value == g, (b - r).div_(divisor).add_(2.0), (r - g).div_(divisor).add_(4.0)),
    )
    hue.add_(6.0 * shift[:, None, None])
    hue.sub_(torch.floor(hue * (1 / 6)).mul_(6.0))  # round the circle, into [0, 6)
    red = (hue - 3.0).abs_().sub_(1.0).clamp_(0.0, 1.0)
    green = (hue - 2.0).abs_().neg_().add_(2.0).clamp_(0.0, 1.0)
    blue = (hue - 4.0).abs_().neg_().add_(2.0).clamp_(0.0, 1.0)
    return torch.stack([torch.addcmul(low, chroma, w) for w in (red, green, blue)], dim=1)


def jitter_factors(u: Tensor, jitter: Jitter) -> Tensor:
    """Brightness, contrast, saturation factors and hue shift, N×4, from N×4 uniform numbers."""
    spans = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    middles = (1.0, 1.0, 1.0, 0.0)
    columns = [middles[k] + spans[k] * (2.0 * u[:, k] - 1.0) for k in range(4)]
    return torch.stack(columns, dim=1)


def jitter_positions(u: Tensor) -> Tensor:
    """A uniform permutation of the four operations for each sample: N×4 int64 from N uniforms.

    Entry k is the place of operation k. Each operation is inserted into the order of those before
    it: the places follow from the digits of one number below 24.
    """
    code = torch.floor(u * 24).clamp(max=23).to(torch.int64)
    places = [torch.zeros_like(code)]
    for digit in (code // 12, code // 4 % 3, code % 4):
        places = [place + (place >= digit) for place in places] + [digit]
    return torch.stack(places, dim=1)


def color_jitter(
    images: Tensor, factors: Tensor, positions: Tensor, *, has_hue: bool = True
) -> Tensor:
    """Brightness, contrast, saturation and hue, in each sample's own order.

    The first three are one form, `clamp(f x + g grey(x) + m mean(grey(x)))`, so one masked step
    serves whichever of them a sample has next. Hue is the dear one and is computed once: three
    steps come before it and three after, and a step that a sample does not need is the identity.

    Args:
        images: N×3×H×W in [0, 1].
        factors: N×4 from `jitter_factors`; (1, 1, 1, 0) changes nothing.
        positions: N×4 from `jitter_positions`.
        has_hue: False leaves hue out, whatever the factors.
    """
    position, hue_position = positions[:, :3], positions[:, 3:]
    rank = position - (position > hue_position).to(position.dtype)  # place among the three
    early = position < hue_position if has_hue else torch.ones_like(rank, dtype=torch.bool)
    for step in range(3):
        images = _blend(images, factors, (rank == step) & early)
    if not has_hue:
        return images
    images = adjust_hue(images, factors[:, HUE])
    for step in range(3):
        images = _blend(images, factors, (rank == step) & ~early)
    return images


def _blend(images: Tensor, factors: Tensor, chosen: Tensor) -> Tensor:
    """One of brightness, contrast, saturation for each sample, by the one-hot N×3 `chosen`."""
    own = torch.where(chosen, factors[:, :3], 1.0)
    # Two of the three are exactly 1, so the product is the chosen factor.
    factor = own.prod(1)[:, None, None, None]
    rest = (1.0 - own)[:, :, None, None]
    grey = luminance(images)
    mean = grey.mean((2, 3), keepdim=True)  # N×1×1×1, of the image as the steps before have left it
    grey.mul_(rest[:, SATURATION, None]).add_(mean * rest[:, CONTRAST, None])
    return torch.addcmul(grey, images, factor).clamp_(0.0, 1.0)
