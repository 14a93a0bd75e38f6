"""What the drawn sets have in common: shapes with patterns, lit, on a cluttered ground.

Position, size, rotation, colours, background, relief and light are drawn from the same
distributions for every class, and every outline has the same area, so that colour statistics tell
nothing. Everything is a function of (seed, purpose, index): any machine draws the same, up to the
last bit of its arithmetic, at any size and in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sslbench.data.dataset import Raw
from sslbench.data.outlines import OUTLINES
from sslbench.data.patterns import PATTERNS
from sslbench.data.split import Instances, Split, joined
from sslbench.memory import require_memory
from sslbench.recipes.specs import DrawnSpec
from sslbench.streams import stream_key, uniform

PATTERN_OF = {
    "circle": "dots",
    "square": "checks",
    "triangle": "rows",
    "hexagon": "spokes",
    "star": "halves",
    "cross": "columns",
    "heart": "zigzag",
    "crescent": "net",
    "ring": "rings",
    "arrow": "spiral",
}
CLASSES = tuple(PATTERN_OF)

TEST_OFFSET = 1 << 40  # test images are counted from here, training images from 0
WAVES = 3  # low-frequency waves in a background
_CHUNK = 256
_LUMA = (0.299, 0.587, 0.114)


def drawn(
    spec: DrawnSpec,
    render: Callable[[Tensor], Split],
    *,
    kept: int,
    passing: int,
    images: int = 1,
) -> Raw:
    """The training and the test half, on the CPU.

    Args:
        render: draws what is at some int64 indices.
        kept: bytes a pixel of the images that are made.
        passing: bytes a pixel that drawing one takes meanwhile.
        images: how many of them an index stands for.
    Raises:
        UserError: memory does not suffice.
    """

    def half(count: int, start: int) -> Split:
        # What is kept is there twice while the parts are joined.
        require_memory(
            spec.resolution**2 * (2 * kept * count + passing * min(count, _CHUNK)),
            what=f"{count:,} images of {spec.resolution:,} pixels",
            remedy="lower data.num_train, data.num_test or data.resolution",
        )
        indices, step = torch.arange(count // images) + start, max(1, _CHUNK // images)
        return joined([render(indices[i : i + step]) for i in range(0, len(indices), step)])

    train, test = half(spec.num_train, 0), half(spec.num_test, TEST_OFFSET)
    return Raw(train, test, CLASSES[: spec.num_classes])


class Draws:
    """`count` uniform numbers at some N indices, handed out one N×1×1 column after the other."""

    def __init__(self, seed: int, purpose: str, indices: Tensor, count: int) -> None:
        self._columns = iter(uniform(stream_key(seed, purpose), indices, count).unbind(1))

    def between(self, low: float, high: float) -> Tensor:
        """The next number, uniform in [low, high)."""
        return (low + (high - low) * next(self._columns))[:, None, None]


def grid(resolution: int) -> tuple[Tensor, Tensor]:
    """x and y of the pixels' centres, H×W each, -1..1 from edge to edge."""
    side = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    y, x = torch.meshgrid(side, side, indexing="ij")
    return x, y


def figures(
    labels: Tensor, x: Tensor, y: Tensor, size: Tensor, angle: Tensor, phase: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Shapes with their patterns, each on a canvas of its own.

    Args:
        labels: int64 N, positions in `CLASSES`.
        x, y, size: N×1×1, centre and scale of each, in half image sides.
        angle: N×1×1, in radians.
        phase: N×1×1, of the pattern, in 0..1.
        side: of the canvas, in pixels.
    Returns:
        Distance from the outline, in half image sides, negative inside; and the share of the
        pattern's second colour; N×H×W each.
    """
    right, down = grid(side)  # H×W
    u, v = (right - x) / size, (down - y) / size
    u, v = u * angle.cos() + v * angle.sin(), v * angle.cos() - u * angle.sin()
    outline, pattern = _by_class(labels, u, v, phase)
    return outline * size, (0.5 + pattern * size / (2 / side)).clamp(0, 1)


def _by_class(labels: Tensor, u: Tensor, v: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Outline and pattern of each image's class, N×H×W each, in the object's units."""
    outline, pattern = torch.empty_like(u), torch.empty_like(u)
    for label, name in enumerate(CLASSES):
        rows = labels == label
        outline[rows] = OUTLINES[name](u[rows], v[rows])
        pattern[rows] = PATTERNS[PATTERN_OF[name]](u[rows], v[rows], phase[rows])
    return outline, pattern


def relief(distance: Tensor) -> Tensor:
    """Height of the object, a rim that rises like a quarter circle to a flat top, N×H×W."""
    rim = 0.25
    slope = (1 + distance / rim).clamp(0, 1)
    return rim * torch.sqrt(1 - slope * slope)


def lamp(looks: Draws) -> tuple[Tensor, Tensor]:
    """A lamp's direction in radians and its contrast, N×1×1 each."""
    return looks.between(0, 2 * math.pi), looks.between(0.2, 0.5)


def light(height: Tensor, azimuth: Tensor, strength: Tensor) -> Tensor:
    """Brightness of a surface under a lamp from the side, N×H×W, 1 on flat ground.

    Args:
        height: N×H×W, in half image sides.
        azimuth, strength: of the `lamp`.
    """
    down, right = torch.gradient(height, spacing=2 / height.shape[-1], dim=(1, 2))
    facing = right * azimuth.cos() + down * azimuth.sin()
    return 1 - strength * facing / torch.sqrt(1 + right * right + down * down)


def object_colours(looks: Draws) -> tuple[Tensor, Tensor]:
    """First and second colour of each object, N×3×1×1 each.

    The two differ in luma by 0.25 to 0.45 in either direction, so that the pattern shows in grey
    too.
    """
    luma, step = looks.between(0, 1), looks.between(0.25, 0.45)
    low = 0.15 + luma * (0.7 - step)
    swap = looks.between(0, 1) < 0.5
    first = _colour(looks, torch.where(swap, low, low + step), 0.4)
    return first, _colour(looks, torch.where(swap, low + step, low), 0.4)


def ground_colours(looks: Draws) -> tuple[Tensor, Tensor]:
    """The two colours of each background, N×3×1×1 each."""
    ground = looks.between(0.15, 0.85)
    return _colour(looks, ground, 0.25), _colour(looks, ground + 0.15, 0.25)


def _colour(looks: Draws, luma: Tensor, chroma: float) -> Tensor:
    """N×3×1×1 of that luma (before clipping) and a random hue."""
    hue, amount = looks.between(0, 2 * math.pi), chroma * looks.between(0.2, 1)
    red, blue = amount * hue.cos(), amount * hue.sin()  # R - Y and B - Y
    green = -(_LUMA[0] * red + _LUMA[2] * blue) / _LUMA[1]
    return (luma[:, None] + torch.stack([red, green, blue], 1)).clamp(0, 1)


def clutter(looks: Draws, x: Tensor, y: Tensor) -> Tensor:
    """Low-frequency mixture of the two backgrounds, N×H×W in 0..1."""
    total = torch.zeros(())
    for _ in range(WAVES):
        angle, frequency = looks.between(0, 2 * math.pi), looks.between(0.5, 3.5)
        phase, weight = looks.between(0, 2 * math.pi), looks.between(0.3, 1)
        total = total + weight * torch.sin(frequency * (x * angle.cos() + y * angle.sin()) + phase)
    return torch.sigmoid(2 * total)


def shaded(canvas: Tensor, distance: Tensor) -> Tensor:
    """What lies behind an object, darker near its outline: N×3×H×W, of N×H×W distances."""
    return canvas * (1 - 0.45 * torch.exp(-distance.clamp(min=0) / 0.08))[:, None]


def covered(canvas: Tensor, surface: Tensor, distance: Tensor) -> Tensor:
    """The canvas with an object before it, its edge antialiased: N×3×H×W."""
    pixel = 2 / canvas.shape[-1]
    return torch.lerp(canvas, surface, (0.5 - distance / pixel).clamp(0, 1)[:, None])


def quantised(image: Tensor) -> Tensor:
    """uint8 of 0..1."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def instances(image: Tensor, labels: Tensor, masks: Tensor, track: Tensor | None) -> Instances:
    """The objects of which a pixel is seen, with the boxes around their masks.

    Args: as the fields of `Instances`.
    """
    seen = masks.flatten(1).any(1)
    image, labels, masks = image[seen], labels[seen], masks[seen]
    track = None if track is None else track[seen]
    return Instances(image=image, box=_boxes(masks), label=labels, mask=masks, track=track)


def _boxes(masks: Tensor) -> Tensor:
    """(left, top, right, bottom) around each mask, none of them empty, N×4 float32."""
    edges = []
    for axis in (1, 2):  # columns, then rows
        occupied = masks.any(axis).to(torch.uint8)
        edges.append((occupied.argmax(1), occupied.shape[1] - occupied.flip(1).argmax(1)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], 1).to(torch.float32)
