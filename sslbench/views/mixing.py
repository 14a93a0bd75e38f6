"""Mixup, cutmix, soft labels and random erasing, by keyed draws: what fine-tuning adds to crops.

timm's own draw from numpy's and Python's global generators, which no resumed fit would find as they
were. Nothing here waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslbench import streams

_COLOUR_KEY = 0x2545F4914F6CDD1D  # separates the colours from the rectangles
_ATTEMPTS = 10
_LEAST_ASPECT = 0.3


def soft_labels(labels: Tensor, num_classes: int, *, smoothing: float) -> Tensor:
    """N×C float32 from N int64: 1 - e + e/C for the true class, e/C for every other.

    Source: Szegedy et al. 2016, arXiv:1512.00567, Sec. 7.
    """
    off = smoothing / num_classes
    targets = torch.full((len(labels), num_classes), off, device=labels.device)
    return targets.scatter_(1, labels[:, None], 1.0 - smoothing + off)


def mix(
    images: Tensor, targets: Tensor, *, key: int, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """Each image with its partner, the batch in reverse: one draw for the whole batch.

    Mixup weighs an image by m and its partner by 1 - m; cutmix puts a rectangle of the partner in
    its place and weighs by the share of the pixels that are left, after the rectangle is clipped
    to the image. m is from Beta(a, a); where both have an a, each comes in half of the batches. In
    a batch of odd size the image in the middle is its own partner.

    Args:
        images: N×3×H×W.
        targets: N×C.
        key: from `streams.stream_key`, another one every step.
        mixup, cutmix: their a; 0 switches one off.
    Source: Zhang et al. 2018, arXiv:1710.09412, Eq. 1; Yun et al. 2019, arXiv:1905.04899, Sec. 3.1.
    """
    if mixup <= 0 and cutmix <= 0:
        return images, targets
    weights, weight = _weights(images, key=key, mixup=mixup, cutmix=cutmix)
    mixed = images * weights + images.flip(0) * (1 - weights)
    return mixed, targets * weight + targets.flip(0) * (1 - weight)


def erase(
    images: Tensor, *, key: int, samples: Tensor, probability: float,
    area: tuple[float, float] = (0.02, 1 / 3),
) -> Tensor:  # fmt: skip
    """A rectangle of some images filled with one colour: a standard normal number for each
    channel, which is the mean and spread of the normalised images' own.

    Args:
        images: N×3×H×W, normalised.
        samples: N int64 positions, which the draws belong to.
        probability: of an image to lose a rectangle.
        area: least and largest share of the image; its aspect is log-uniform in (0.3, 1 / 0.3).
            The first of ten attempts that is smaller than the image is taken, if there is one.
    Source: Zhong et al. 2020, arXiv:1708.04896, Algorithm 1. MAE's code draws such a number for
    each pixel, as many numbers as the batch has.
    """
    if probability <= 0:
        return images
    height, width = images.shape[-2:]
    u = streams.uniform(key, samples, 2 * _ATTEMPTS + 3)  # chosen, areas, aspects, top, left
    low, high = area
    size = height * width * (low + (high - low) * u[:, 1 : _ATTEMPTS + 1])  # N×10
    span = -2 * math.log(_LEAST_ASPECT)
    aspect = torch.exp(span * u[:, _ATTEMPTS + 1 : -2] - span / 2)
    h, w = torch.round(torch.sqrt(size * aspect)), torch.round(torch.sqrt(size / aspect))
    fits = (h < height) & (w < width)
    first = fits & (fits.cumsum(1) == 1)
    h, w = (h * first).sum(1), (w * first).sum(1)  # 0 where none fits: nothing is erased
    top = torch.minimum(torch.floor(u[:, -2] * (height - h + 1)), height - h)
    left = torch.minimum(torch.floor(u[:, -1] * (width - w + 1)), width - w)
    inside = _inside(top, top + h, height)[:, :, None] & _inside(left, left + w, width)[:, None, :]
    inside &= (u[:, 0] < probability)[:, None, None]
    colour = streams.normal(key ^ _COLOUR_KEY, samples, images.shape[1])
    return torch.where(inside[:, None], colour[:, :, None, None], images)


def _weights(images: Tensor, *, key: int, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """An image's weight for each pixel, 1×1×H×W or a scalar of those dimensions, and for its
    target, a scalar."""
    height, width = images.shape[-2:]
    # Rows of one stream: they share no number.
    of_mixup, of_cutmix, of_choice = torch.arange(3, device=images.device)[:, None]
    choice, row, column = streams.uniform(key, of_choice, 3)[0]
    share = streams.beta(key, of_mixup, 1, alpha=mixup)[0, 0] if mixup > 0 else choice
    whole = share.expand(1, 1, height, width)
    if cutmix <= 0:
        return whole, share
    side = torch.sqrt(1 - streams.beta(key, of_cutmix, 1, alpha=cutmix)[0, 0])
    cut = _cut(row, side, height)[:, None] & _cut(column, side, width)[None, :]  # H×W
    kept = 1 - cut.float().mean()
    if mixup <= 0:
        return (~cut).float()[None, None], kept
    cuts = choice < 0.5
    return torch.where(cuts, (~cut).float(), whole), torch.where(cuts, kept, share)


def _cut(centre: Tensor, share: Tensor, length: int) -> Tensor:
    """Which of `length` places a cut of that share covers, clipped: bool."""
    half = torch.floor(torch.floor(length * share) / 2)
    middle = torch.floor(centre * length)
    return _inside((middle - half)[None], (middle + half)[None], length)[0]


def _inside(start: Tensor, stop: Tensor, length: int) -> Tensor:
    """N×length bool, true from start up to stop, of N each."""
    places = torch.arange(length, device=start.device)
    return (places >= start[:, None]) & (places < stop[:, None])
