"""Colour operations on whole batches with per-sample parameters; images N×3×H×W in [0, 1].

The definitions are torchvision's for float tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.recipes.specs import Jitter
from sslbench.views.fusing import fused
from sslbench.views.rows import needed

LUMINANCE = (0.2989, 0.587, 0.114)  # ITU-R 601-2, the digits torchvision uses
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_TINY = 1e-30


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]; float images pass."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32) * (1.0 / 255.0)


def luminance(images: Tensor) -> Tensor:
    """The grey value of each pixel: N×1×H×W."""
    r, g, b = images[:, :1], images[:, 1:2], images[:, 2:]
    return (r * LUMINANCE[0]).add_(g, alpha=LUMINANCE[1]).add_(b, alpha=LUMINANCE[2])


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Grey in all three channels where `chosen` (N bool)."""
    return _mix(images, luminance(images), chosen)


def _mix(images: Tensor, others: Tensor, chosen: Tensor) -> Tensor:
    """`others` where `chosen` (N bool): lerp, exact at 0 and 1, is much faster on a CPU than
    torch.where."""
    return torch.lerp(images, others, chosen[:, None, None, None].to(images.dtype))


def solarize(images: Tensor, chosen: Tensor, *, threshold: float) -> Tensor:
    """Invert the values at or above `threshold` where `chosen` (N bool)."""
    inverted = (images >= threshold) & chosen[:, None, None, None]
    return torch.where(inverted, 1.0 - images, images)


@fused
def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue of each image by `shift` (N, in turns of the colour circle), through HSV.

    Without a branch, which is dear on a CPU. The hue h, in [-3, 3] from red, has the magnitude
    (g + b - r - low) / chroma + 1 and the sign of g - b. With h in [0, 6) after the shift, a
    channel is `low + chroma * clamp(w, 0, 1)` with w = |h-3| - 1 for red, 2 - |h-2| for green and
    2 - |h-4| for blue.
    """
    r, g, b = images.unbind(1)  # N×H×W each
    value = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = value - low
    # Grey has no hue, and no chroma to show one: there any divisor will do.
    hue = (g + b).sub_(r).sub_(low).div_(chroma.clamp(min=_TINY)).add_(1.0)
    hue = torch.copysign(hue, g - b).add_(6.0 * shift[:, None, None])
    hue.sub_((hue * (1 / 6)).floor_(), alpha=6.0)  # round the circle
    # The ones of w, and its sign, are in the channels' bases.
    red, green, blue = ((hue - k).abs_().clamp_(1.0, 2.0) for k in (3.0, 2.0, 4.0))
    base, top = low - chroma, value + chroma
    return torch.stack(
        [
            torch.addcmul(base, chroma, red),
            torch.addcmul(top, chroma, green, value=-1.0),
            torch.addcmul(top, chroma, blue, value=-1.0),
        ],
        dim=1,
    )


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

    Args:
        images: N×3×H×W in [0, 1].
        factors: N×4 from `jitter_factors`; (1, 1, 1, 0) changes nothing.
        positions: N×4 from `jitter_positions`.
        has_hue: False leaves hue out, whatever the factors.
    """
    shift = factors[:, HUE]
    blends = jitter_blends(factors, positions, has_hue=has_hue)
    return blend_and_turn(images, shift != 0, shift, *blends)


def jitter_blends(factors: Tensor, positions: Tensor, *, has_hue: bool) -> tuple[Tensor, Tensor]:
    """The steps that `blend_and_turn` takes.

    Brightness, contrast and saturation are one form, `clamp(f x + g grey(x) + m mean(grey(x)))`,
    so one step serves whichever of them a sample has next. Hue is the dear one and is computed
    once: three steps come before it and three after, of which a sample needs three.

    Returns:
        N×S bool, the steps that change a sample, and N×S×3 their f, g and m, where a step that
        does not is the identity; S is 6, or 3 without hue.
    """
    position, hue_position = positions[:, :3], positions[:, 3:]
    step = torch.arange(3, device=factors.device)[:, None]  # against the N×1×3 operations
    if has_hue:
        early = position < hue_position
        rank = position - (~early).to(position.dtype)  # place among the three
        now = rank[:, None] == step
        now = torch.cat([now & early[:, None], now & ~early[:, None]], dim=1)  # N×6×3, one-hot
    else:
        now = (position - (position > hue_position).to(position.dtype))[:, None] == step
    own = torch.where(now, factors[:, None, :3], 1.0)
    # Two of the three are exactly 1, so the product is the chosen factor.
    steps = [own.prod(2), 1.0 - own[..., SATURATION], 1.0 - own[..., CONTRAST]]
    return (own != 1.0).any(2), torch.stack(steps, dim=2)


def blend_and_turn(
    images: Tensor, chosen: Tensor, shift: Tensor, active: Tensor, blends: Tensor
) -> Tensor:
    """The steps of `jitter_blends`, and between the first three of six and the others the hue's
    turn by `shift` (N). Where not `chosen` (N bool) images pass exactly."""
    for step in range(blends.shape[1]):
        if step == 3:
            turned = adjust_hue(images, shift)
            # A turn by nothing still rounds.
            images = _mix(images, turned, chosen) if needed(~chosen) else turned
        if needed(active[:, step]):
            images = _blend(images, *blends[:, step].unbind(1))
    return images


@fused
def _blend(images: Tensor, factor: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Each image, its grey, and the mean of its grey, by N weights each."""
    grey = luminance(images)
    mean = grey.mean((2, 3), keepdim=True)  # N×1×1×1, of the image as the steps before have left it
    grey.mul_(saturation.view(-1, 1, 1, 1)).add_(mean * contrast.view(-1, 1, 1, 1))
    return torch.addcmul(grey, images, factor.view(-1, 1, 1, 1)).clamp_(0.0, 1.0)
