"""Intersection over union of one confusion matrix, against a loop over pixels."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench.evaluation.confusion import confusion, ious, miou, pixel_accuracy


def test_a_matrix_counts_known_pixels_by_truth_and_prediction() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (3, 5, 7), generator=generator).to(torch.uint8)
    predicted = torch.randint(0, 4, (3, 5, 7), generator=generator).to(torch.uint8)
    known = torch.rand(3, 5, 7, generator=generator) < 0.7
    truth[~known] = 255
    expected = [[0] * 4 for _ in range(4)]
    for t, p, k in zip(truth.flatten(), predicted.flatten(), known.flatten(), strict=True):
        if k:
            expected[int(t)][int(p)] += 1
    found = confusion(truth, predicted, known, num_classes=4)
    assert found.tolist() == expected
    hits = sum(expected[k][k] for k in range(4))
    assert pixel_accuracy(found) == pytest.approx(100 * hits / int(known.sum()))


def test_by_hand() -> None:
    truth = torch.tensor([[0, 0, 1], [1, 1, 3]])
    predicted = torch.tensor([[0, 1, 1], [1, 0, 1]])
    matrix = confusion(truth, predicted, torch.ones(2, 3, dtype=torch.bool), num_classes=5)
    # 0: one of {2 there, 2 said}; 1: two of {3, 4}; 3 is there and never said; 2 and 4 are neither.
    expected = [100 / 3, 200 / 5, math.nan, 0.0, math.nan]
    assert ious(matrix).tolist() == pytest.approx(expected, nan_ok=True)
    assert miou(matrix) == pytest.approx((100 / 3 + 40 + 0) / 3)


def test_a_class_that_is_said_and_not_there_counts_as_zero() -> None:
    truth, predicted = torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1])
    matrix = confusion(truth, predicted, torch.ones(3, dtype=torch.bool), num_classes=2)
    assert miou(matrix) == pytest.approx(100 * (2 / 3 + 0) / 2)
