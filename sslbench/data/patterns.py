"""The ten patterns of the procedural set: signed waves in the object's own coordinates.

Every function maps coordinates and a phase in [0, 1) to the distance from the nearest edge of
the pattern, positive where the second colour goes; about half the plane gets each colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

PERIOD = 0.5  # of a stripe and a gap


def rows(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Stripes across."""
    return _wave(y / PERIOD + phase) * PERIOD


def columns(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Stripes down."""
    return _wave(x / PERIOD + phase) * PERIOD


def rings(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Circles around the centre."""
    return _wave(torch.hypot(x, y) / PERIOD + phase) * PERIOD


def checks(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """A chequerboard."""
    across, down = _wave(x / 0.7 + phase), _wave(y / 0.7 + phase)
    return 0.7 * torch.sign(across) * torch.sign(down) * torch.minimum(across.abs(), down.abs())


def dots(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Discs on a square grid, a little more than a third of the area."""
    return 0.2 - 0.55 * torch.hypot(_saw(x / 0.55 + phase), _saw(y / 0.55 + phase))


def net(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Two sets of diagonal lines."""
    u, v = (x + y) * math.sqrt(0.5) / 0.55, (x - y) * math.sqrt(0.5) / 0.55
    return 0.55 * (0.17 - torch.minimum(_saw(u + phase).abs(), _saw(v + phase).abs()))


def spokes(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Six pairs of sectors; the distance shrinks towards the centre, as the sectors do."""
    turns = torch.atan2(y, x) * (6 / (2 * math.pi))
    return _wave(turns + phase) * torch.hypot(x, y)


def zigzag(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Rows bent up and down at 45 degrees."""
    bend = 0.8 * _saw(x / 0.8 + phase).abs()
    return _wave((y + bend) / 0.6 + phase) * 0.6 * math.sqrt(0.5)


def spiral(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """Two arms."""
    turns = torch.atan2(y, x) * (2 / (2 * math.pi))
    return _wave(torch.hypot(x, y) / 0.6 + turns + phase) * 0.5


def halves(x: Tensor, y: Tensor, phase: Tensor) -> Tensor:
    """One edge near the middle."""
    return x + 0.3 * (phase - 0.5)


def _saw(x: Tensor) -> Tensor:
    """x without its nearest whole number, in -0.5..0.5."""
    return x - torch.round(x)


def _wave(x: Tensor) -> Tensor:
    """Triangle wave of period 1 and slope +-1: the distance from the nearest of its zeros."""
    return _saw(x).abs() - 0.25


PATTERNS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "rows": rows,
    "columns": columns,
    "rings": rings,
    "checks": checks,
    "dots": dots,
    "net": net,
    "spokes": spokes,
    "zigzag": zigzag,
    "spiral": spiral,
    "halves": halves,
}
