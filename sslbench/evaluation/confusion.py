"""Confusion matrices of pixels, and what is read off one: intersection over union, accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def confusion(truth: Tensor, predicted: Tensor, known: Tensor, *, num_classes: int) -> Tensor:
    """K×K int64, rows the truth and columns the prediction, of the known pixels.

    Args:
        truth, predicted: integers of one shape, below K where `known`.
        known: bool of that shape.
    """
    cells = truth[known].long() * num_classes + predicted[known].long()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def pixels_by_image(
    truth: Tensor, predicted: Tensor, known: Tensor, *, num_classes: int
) -> dict[str, np.ndarray]:
    """`pixels_hit`, `pixels_true` and `pixels_predicted`, int32 N×K: of each image's known pixels
    those that have a class in both maps, in the true one, and in the predicted one.

    Args:
        truth, predicted, known: N×H×W, as in `confusion`.
    """
    each = [confusion(*maps, num_classes=num_classes)
            for maps in zip(truth, predicted, known, strict=True)]  # fmt: skip
    counts = {
        "pixels_hit": [matrix.diagonal() for matrix in each],
        "pixels_true": [matrix.sum(1) for matrix in each],
        "pixels_predicted": [matrix.sum(0) for matrix in each],
    }
    return {name: torch.stack(found).int().numpy() for name, found in counts.items()}


def ious(matrix: Tensor) -> Tensor:
    """K float64 in percent, of a K×K confusion matrix; NaN of a class that is neither there nor
    predicted.

    Source: Everingham et al. 2010 (VOC), Sec. 4.3: true positives over true positives, false
    positives and false negatives.
    """
    matrix = matrix.double()
    hits = matrix.diagonal()
    return 100 * hits / (matrix.sum(0) + matrix.sum(1) - hits)


def miou(matrix: Tensor) -> float:
    """The mean of `ious` over the classes that are there or predicted, in percent."""
    return float(ious(matrix).nanmean())


def pixel_accuracy(matrix: Tensor) -> float:
    """The share of pixels whose class is predicted, in percent."""
    return 100 * float(matrix.diagonal().sum() / matrix.sum())
