"""The mean of a map over boxes, against bins and bilinear weights written out."""

from __future__ import annotations

import math

import torch

from sslbench.models.regions import pooled_boxes

GENERATOR = torch.Generator().manual_seed(0)


def value_at(plane: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """Between cells, whose values stand at their centres; outside as at the border."""
    height, width = plane.shape
    y, x = min(max(y - 0.5, 0.0), height - 1), min(max(x - 0.5, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, h = y - top, x - left
    upper = (1 - h) * plane[top, left] + h * plane[top, right]
    lower = (1 - h) * plane[bottom, left] + h * plane[bottom, right]
    return (1 - v) * upper + v * lower


def plain(features: torch.Tensor, boxes: torch.Tensor, output: int) -> torch.Tensor:
    """Box by box, bin by bin: as many samples a bin as it has cells, rounded up."""
    height, width = features.shape[2:]
    rows = []
    for image, own in zip(features, boxes.tolist(), strict=True):
        for left, top, right, bottom in own:
            x, y, w, h = left * width, top * height, (right - left) * width, (bottom - top) * height
            num_y, num_x = math.ceil(h / output), math.ceil(w / output)
            places = [
                (y + h * (i + (a + 0.5) / num_y) / output, x + w * (j + (b + 0.5) / num_x) / output)
                for i in range(output) for a in range(num_y)
                for j in range(output) for b in range(num_x)
            ]  # fmt: skip
            rows.append(
                torch.stack(
                    [sum(value_at(plane, *p) for p in places) / len(places) for plane in image]
                )
            )
    return torch.stack(rows)


def test_values_and_gradients_are_those_of_the_plain_version():
    features = torch.randn(2, 3, 5, 7, generator=GENERATOR, dtype=torch.float64)
    features.requires_grad_()
    boxes = torch.tensor(
        [[[0.1, 0.2, 0.9, 0.6], [0.0, 0.0, 1.0, 1.0]], [[0.5, 0.5, 0.55, 0.58], [0.3, 0, 0.4, 1]]],
        dtype=torch.float64,
    )
    found, expected = pooled_boxes(features, boxes, output=2), plain(features, boxes, 2)
    assert found.shape == (4, 3) and found.dtype == torch.float64
    torch.testing.assert_close(found, expected)
    weights = torch.randn(4, 3, generator=GENERATOR, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((x * weights).sum(), features)[0]
                    for x in (found, expected))  # fmt: skip
    torch.testing.assert_close(ours, theirs)


def test_a_mirrored_map_has_the_same_mean_in_the_mirrored_box():
    features = torch.randn(1, 3, 6, 6, generator=GENERATOR)
    box, mirrored = torch.tensor([[[0.2, 0.1, 0.5, 0.8]]]), torch.tensor([[[0.5, 0.1, 0.8, 0.8]]])
    torch.testing.assert_close(
        pooled_boxes(features, box, output=3), pooled_boxes(features.flip(3), mirrored, output=3)
    )


def test_under_autocast_it_is_computed_in_float32():
    features = torch.randn(1, 3, 6, 6, generator=GENERATOR).bfloat16()
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pooled_boxes(features, boxes, output=3)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pooled_boxes(features.float(), boxes, output=3))
