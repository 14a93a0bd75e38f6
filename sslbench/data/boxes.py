"""The boxes of a set's objects, image by image, for training on them."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.data.dataset import Dataset
from sslbench.data.split import Split
from sslbench.errors import UserError


def padded_boxes(split: Split) -> Tensor:
    """float32 N×M×4 (left, top, right, bottom) in pixels, M >= 1 the most that an image has, NaN
    after an image's last one; crowds are left out. All NaN without objects."""
    found, device = split.instances, split.images.device
    if found is None:
        return torch.full((len(split), 1, 4), torch.nan, device=device)
    image, box = found.image, found.box
    if found.crowd is not None:
        image, box = image[~found.crowd], box[~found.crowd]
    counts = torch.bincount(image, minlength=len(split))
    boxes = torch.full((len(split), max(1, int(counts.max())), 4), torch.nan, device=device)
    place = torch.arange(len(image), device=device) - (counts.cumsum(0) - counts)[image]
    boxes[image, place] = box
    return boxes


def pretraining_boxes(dataset: Dataset) -> Tensor:
    """Of `Dataset.pretraining`, as `padded_boxes`.

    Raises:
        UserError: the set, or its unlabelled part, has no boxes.
    """
    if dataset.train.instances is None:
        raise UserError(
            f"Data set '{dataset.name}' has no boxes of objects, and this recipe trains on them; "
            "take one that has, for example --dataset scenes, or set objective.boxes=random."
        )
    if dataset.unlabelled is not None:
        raise UserError(
            f"The unlabelled images of data set '{dataset.name}' have no boxes, and this recipe "
            "trains on them; set objective.boxes=random."
        )
    return padded_boxes(dataset.train)
