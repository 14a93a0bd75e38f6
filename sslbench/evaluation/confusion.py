"""Confusion matrices of pixels, and what is read off one: intersection over union, accuracy."""

from __future__ import annotations

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
