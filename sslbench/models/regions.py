"""What a feature map says of a box."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align


def pooled_boxes(features: Tensor, boxes: Tensor, *, output: int) -> Tensor:
    """The mean of a map over boxes: (N K)×C, image by image, float32 or more.

    RoIAlign with the half-pixel shift (`aligned`): a cell's value stands at its centre, and
    between cells it is interpolated.

    Args:
        features: N×C×h×w.
        boxes: N×K×4 (left, top, right, bottom), as shares of the map's sides.
        output: bins a side, whose values are averaged.
    Source: He et al. 2017 (Mask R-CNN), arXiv:1703.06870, Sec. 3.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        height, width = features.shape[2:]
        x, y = boxes[..., 0::2] * width, boxes[..., 1::2] * height  # N×K×2
        corners = torch.stack((x, y), dim=3).flatten(2).to(features.dtype)  # x, y, x, y
        image = torch.arange(len(boxes), device=boxes.device)[:, None, None]
        rows = torch.cat((image.expand(-1, boxes.shape[1], 1).to(corners), corners), dim=2)
        found: Tensor = roi_align(
            features.contiguous(), rows.flatten(0, 1), output_size=output, aligned=True
        )
    return found.mean((2, 3))
