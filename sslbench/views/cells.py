"""Where the cells of a view's map lie in the source image, and whether two views meet there."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.batch import ViewBatch
from sslbench.recipes.specs import View, Views
from sslbench.streams import stream_key, uniform
from sslbench.views.draws import COLUMNS, NUM_COLUMNS
from sslbench.views.geometry import crop_boxes

Shape = tuple[int, int]  # (rows, columns) of a map

_PROBES = 256  # images


def cell_centres(view: ViewBatch, shape: Shape) -> Tensor:
    """N×L×2 (row, column) in source pixels, of the L cells of a map, row by row.

    A mirrored view's first column is the last of its crop.
    """
    rows, columns = (
        (torch.arange(count, device=view.box.device) + 0.5) / count for count in shape
    )  # shares of the crop
    across = torch.where(view.flipped[:, None], 1 - columns, columns)  # N×w
    top, left, height, width = view.box.unsqueeze(2).unbind(1)  # N×1 each
    y = (top + height * rows)[:, :, None].expand(-1, -1, shape[1])
    x = (left + width * across)[:, None, :].expand(-1, shape[0], -1)
    return torch.stack((y.flatten(1), x.flatten(1)), dim=2)


def cell_diagonals(view: ViewBatch, shape: Shape) -> Tensor:
    """N diagonals of a cell in source pixels."""
    return torch.hypot(view.box[:, 2] / shape[0], view.box[:, 3] / shape[1])


def cell_distances(
    first: ViewBatch, second: ViewBatch, first_shape: Shape, second_shape: Shape
) -> Tensor:
    """N×L×M distances between the centres of the cells of two maps, in diagonals of a cell of the
    coarser one.

    Source: Xie et al. 2020 (PixPro), Sec. 3.1; the authors' code divides by the image's sides
    first, which is the same for square images.
    """
    here, there = cell_centres(first, first_shape), cell_centres(second, second_shape)
    between = here[:, :, None] - there[:, None]  # N×L×M×2
    largest = torch.maximum(
        cell_diagonals(first, first_shape), cell_diagonals(second, second_shape)
    )
    return torch.hypot(*between.unbind(3)) / largest[:, None, None]


def overlapping_share(views: Views, *, resolution: int) -> float:
    """Share of images whose two global views have a part of the source in common, of 256 that are
    drawn for this.

    A crop that both share moves and scales both alike, and a flip mirrors what is left: neither
    changes it.

    Args:
        resolution: side of the images, pixels.
    """
    boxes = [
        _crops(view, stream_key(0, "overlap of views", index), resolution)
        for index, view in enumerate((views.first, views.second or views.first))
    ]
    start = torch.maximum(boxes[0][:, :2], boxes[1][:, :2])
    end = torch.minimum(*(box[:, :2] + box[:, 2:] for box in boxes))
    return float((start < end).all(dim=1).float().mean())


def _crops(view: View, key: int, side: int) -> Tensor:
    if view.crop is None:
        return torch.tensor([0.0, 0.0, side, side]).expand(_PROBES, 4)
    draws = uniform(key, torch.arange(_PROBES), NUM_COLUMNS)[:, COLUMNS["crop"]]
    return crop_boxes(draws, view.crop, height=side, width=side)
