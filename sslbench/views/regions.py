"""Boxes that two views of an image both show, and where in each view they lie.

Boxes are (left, top, right, bottom), in source pixels unless a function says otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslbench.batch import ViewBatch

LEAST_SIDE = 1.0  # source pixels of a box that is compared
LEAST_SHOWN = 0.5  # share of an object's box that both views show


def overlap(first: ViewBatch, second: ViewBatch) -> Tensor:
    """N×4: what two views have in common; right <= left or bottom <= top where that is nothing."""
    boxes = [
        torch.stack((left, top, left + width, top + height), dim=1)
        for top, left, height, width in (view.box.unbind(1) for view in (first, second))
    ]
    return torch.cat(
        (torch.maximum(boxes[0], boxes[1])[:, :2], torch.minimum(boxes[0], boxes[1])[:, 2:]), dim=1
    )


def random_boxes(
    within: Tensor, u: Tensor, *, area: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """K boxes in each of N others, N×K×4.

    The share of the area is uniform, the aspect ratio (width over height) log-uniform, the place
    uniform. A box that would be wider or higher than what it lies in is as wide or high as that,
    and keeps its area.

    Args:
        within: N×4; of an empty one the boxes are empty.
        u: N×K×4 uniform numbers: area, aspect, left, top.
    """
    start, side = within[:, None, :2], (within[:, 2:] - within[:, :2]).clamp(min=0)[:, None]
    wide, high = side.unbind(2)  # N×1 each
    size = wide * high * torch.lerp(*_pair(area, u), u[..., 0])
    aspect = torch.exp(torch.lerp(*_pair((math.log(ratio[0]), math.log(ratio[1])), u), u[..., 1]))
    width = torch.minimum((size * aspect).sqrt(), wide)
    height = torch.minimum(size / width.clamp(min=1e-6), high)
    width = torch.minimum(size / height.clamp(min=1e-6), wide)
    own = torch.stack((width, height), dim=2)  # N×K×2
    corner = start + u[..., 2:] * (side - own)
    return torch.cat((corner, corner + own), dim=2)


def object_boxes(boxes: Tensor, within: Tensor, u: Tensor, *, count: int) -> Tensor:
    """At most `count` of the objects in each of N images, N×K×4, cut to what both views show.

    Of those of which at least half is shown some are chosen at random; in place of one that is
    missing stands NaN.

    Args:
        boxes: N×M×4, NaN after the last one of an image.
        within: N×4, what both views show.
        u: N×M uniform numbers, which choose.
    """
    bounds = within[:, None]
    shown = torch.cat(
        (
            torch.maximum(boxes[..., :2], bounds[..., :2]),
            torch.minimum(boxes[..., 2:], bounds[..., 2:]),
        ),
        dim=2,
    )
    enough = _area(shown) >= LEAST_SHOWN * _area(boxes)  # false of NaN
    # Of u 0 is a possible value, and below it what is not to be chosen.
    order = torch.where(enough, u, -1.0)
    score, chosen = order.topk(min(count, boxes.shape[1]), dim=1)  # N×K
    found = shown.gather(1, chosen[..., None].expand(-1, -1, 4))
    return torch.where((score >= 0)[..., None], found, torch.nan)


def comparable(boxes: Tensor) -> Tensor:
    """N×K bool: boxes with two sides of at least a pixel; none of NaN."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= LEAST_SIDE).all(dim=2)


def in_view(boxes: Tensor, view: ViewBatch) -> Tensor:
    """N×K×4 boxes as shares of the view's sides, mirrored where the view is.

    A box that is not `comparable` becomes the whole view, so that no number is undefined.
    """
    top, left, height, width = (side[:, None] for side in view.box.unbind(1))  # N×1 each
    x = (boxes[..., 0::2] - left[..., None]) / width[..., None]  # N×K×2
    y = (boxes[..., 1::2] - top[..., None]) / height[..., None]
    x = torch.where(view.flipped[:, None, None], 1 - x.flip(2), x)
    inside = torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=2).clamp(0, 1)
    whole = torch.arange(4, device=boxes.device) >= 2  # 0, 0, 1, 1
    return torch.where(comparable(boxes)[..., None], inside, whole.to(inside.dtype))


def _pair(bounds: tuple[float, float], like: Tensor) -> tuple[Tensor, Tensor]:
    low, high = (like.new_full((), value) for value in bounds)
    return low, high


def _area(boxes: Tensor) -> Tensor:
    """Of N×K×4 boxes; 0 of one that is turned inside out."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=2)
