"""The ten outlines of the procedural set: signed distances, all of the same area.

Every function maps coordinates (x to the right, y down, any shape) to the distance from the
outline, negative inside; equal areas keep class out of the colour statistics. Distances are exact
near the edges' middles and lower bounds at corners, which is what antialiasing needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

AREA = 1.8  # of every outline in OUTLINES, where the square of x, y in -1..1 has 4
REACH = 1.36  # no outline has a point farther from its centre


def circle(x: Tensor, y: Tensor) -> Tensor:
    """A disc."""
    return torch.hypot(x, y) - 1


def square(x: Tensor, y: Tensor) -> Tensor:
    """A square."""
    return _box(x, y, 1, 1)


def triangle(x: Tensor, y: Tensor) -> Tensor:
    """An equilateral triangle, point up."""
    return _polygon(x, y, sides=3)


def hexagon(x: Tensor, y: Tensor) -> Tensor:
    """A regular hexagon."""
    return _polygon(x, y, sides=6)


def star(x: Tensor, y: Tensor) -> Tensor:
    """Five points: the plane is folded onto half a point, whose edge is one line."""
    sector = 2 * math.pi / 5
    angle = torch.atan2(x, -y)
    angle = (angle - sector * torch.round(angle / sector)).abs()
    radius = torch.hypot(x, y)
    inner_x, inner_y = 0.5 * math.cos(math.pi / 5), 0.5 * math.sin(math.pi / 5)
    length = math.hypot(1 - inner_x, inner_y)
    normal_x, normal_y = inner_y / length, (1 - inner_x) / length
    return normal_x * (radius * torch.cos(angle) - 1) + normal_y * radius * torch.sin(angle)


def cross(x: Tensor, y: Tensor) -> Tensor:
    """Two bars at right angles."""
    return torch.minimum(_box(x, y, 1, 0.36), _box(x, y, 0.36, 1))


def heart(x: Tensor, y: Tensor) -> Tensor:
    """A square on its corner with a half disc on each of its upper sides."""
    y = y - 0.222
    u, v = (x + y) * math.sqrt(0.5), (y - x) * math.sqrt(0.5)
    left, right = torch.hypot(u + 0.5, v), torch.hypot(u, v + 0.5)
    return torch.minimum(_box(u, v, 0.5, 0.5), torch.minimum(left, right) - 0.5)


def crescent(x: Tensor, y: Tensor) -> Tensor:
    """A disc less a shifted disc."""
    return torch.maximum(circle(x - 0.358, y), 0.75 - torch.hypot(x - 0.808, y))


def ring(x: Tensor, y: Tensor) -> Tensor:
    """A disc with a hole."""
    return (torch.hypot(x, y) - 0.7).abs() - 0.3


def arrow(x: Tensor, y: Tensor) -> Tensor:
    """Upwards: a triangular head on a shaft."""
    slope = 1 / math.sqrt(1 + 0.8**2)
    sides = (x.abs() - 0.8 * (y + 1)) * slope
    head = torch.maximum(sides, y)
    return torch.minimum(head, _box(x, y - 0.45, 0.34, 0.55))


def _box(x: Tensor, y: Tensor, half_width: float, half_height: float) -> Tensor:
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _polygon(x: Tensor, y: Tensor, *, sides: int) -> Tensor:
    """Regular, one corner up, at distance 1 from the centre."""
    angles = [math.pi * (2 * i + 1) / sides for i in range(sides)]
    distances = [math.sin(a) * x - math.cos(a) * y for a in angles]
    return torch.stack(distances).amax(0) - math.cos(math.pi / sides)


def _of_equal_area(
    outline: Callable[[Tensor, Tensor], Tensor], area: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The outline, whose own area is `area`, scaled to AREA."""
    scale = math.sqrt(AREA / area)
    return lambda x, y: scale * outline(x / scale, y / scale)


OUTLINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": _of_equal_area(circle, math.pi),
    "square": _of_equal_area(square, 4.0),
    "triangle": _of_equal_area(triangle, 1.299),
    "hexagon": _of_equal_area(hexagon, 2.598),
    "star": _of_equal_area(star, 1.469),
    "cross": _of_equal_area(cross, 2.362),
    "heart": _of_equal_area(heart, 1.785),
    "crescent": _of_equal_area(crescent, 1.595),
    "ring": _of_equal_area(ring, 2.639),
    "arrow": _of_equal_area(arrow, 1.479),
}
