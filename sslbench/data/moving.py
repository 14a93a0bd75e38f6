"""How the objects of clips move: each in one of six ways, continuously, within its room."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sslbench.data.drawing import Draws

MOTIONS = ("still", "slide", "swing", "circle", "zoom", "spin")
PERIOD = 12  # frames of a swing, a circle or a zoom


class Pose(NamedTuple):
    """Where objects are: centre and scale in half image sides, angle in radians."""

    x: Tensor
    y: Tensor
    size: Tensor
    angle: Tensor


def moved(start: Pose, room: Tensor, draws: Draws, frames: int) -> Pose:
    """The poses of O objects in F frames, O×F each.

    Between two frames a centre moves by at most 0.2 half image sides.

    Args:
        start: O×1×1 each; an object that zooms has at most its size.
        room: O×1×1, the largest distance of a centre from the middle, along each axis.
        draws: of each object, seven numbers.
    """
    x, y, size, angle = (part.flatten(1) for part in start)  # O×1
    room = room.flatten(1)
    kind, heading, speed, radius, side, begin, turn = (
        draws.between(*limits).flatten(1)
        for limits in ((0, len(MOTIONS)), (0, 2 * math.pi), (0.05, 0.12), (0.15, 0.35), (0, 1),
                       (0, 2 * math.pi), (0.2, 0.4))
    )  # fmt: skip
    slide, swing, circle, zoom, spin = (kind.long() == MOTIONS.index(m) for m in MOTIONS[1:])
    sign = torch.where(side < 0.5, -1.0, 1.0)
    time = torch.arange(frames)  # F
    cycle = begin + sign * time * (2 * math.pi / PERIOD)

    radius = torch.minimum(radius, room)
    inner = torch.where(swing | circle, 1 - radius / room, 1.0)  # so that the way has room
    along = slide * speed * time + swing * radius * cycle.sin()
    x = inner * x + along * heading.cos() + circle * radius * cycle.cos()
    y = inner * y + along * heading.sin() + circle * radius * cycle.sin()
    scale = 1 + zoom * (0.25 * cycle.sin() - 0.25)
    return Pose(
        _reflected(x, room), _reflected(y, room), size * scale, angle + spin * sign * turn * time
    )


def _reflected(place: Tensor, room: Tensor) -> Tensor:
    """A place that bounces off the walls at -room and room."""
    return room - (torch.remainder(place + room, 4 * room) - 2 * room).abs()
