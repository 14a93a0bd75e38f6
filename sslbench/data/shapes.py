"""The built-in procedural set: ten shapes, each with a pattern of its own; all else is nuisance.

Position, size, rotation, colours, background, relief and light are drawn from the same
distributions for every class, and every outline has the same area, so colour statistics tell
nothing. An image is a function of (spec.seed, its index): any machine makes the same set, up to
the last bit of its arithmetic, at any size and in any order.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslbench.data.dataset import Split
from sslbench.data.outlines import OUTLINES
from sslbench.data.patterns import PATTERNS
from sslbench.memory import require_memory
from sslbench.recipes.specs import Shapes
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

_TEST_OFFSET = 1 << 40  # test images are counted from here, training images from 0
_CHUNK = 256
_LUMA = (0.299, 0.587, 0.114)
_WAVES = 3  # low-frequency waves in a background


def shapes_split(spec: Shapes, *, train: bool) -> Split:
    """The training or the test half, with labels, boxes, masks and depth, on the CPU.

    Image i has class i modulo `num_classes`: a prefix of the set is balanced too.

    Raises:
        UserError: memory does not suffice.
    """
    count = spec.num_train if train else spec.num_test
    _require_memory(spec, count)
    start = 0 if train else _TEST_OFFSET
    parts = [
        render(spec, torch.arange(a, min(a + _CHUNK, count)) + start)
        for a in range(0, count, _CHUNK)
    ]
    columns = zip(*[(p.images, p.labels, p.boxes, p.masks, p.depth) for p in parts], strict=True)
    return Split(*[torch.cat(column) for column in columns])


def _require_memory(spec: Shapes, count: int) -> None:
    """Measured: 8 bytes a pixel are kept, twice while parts are joined; a chunk takes 100."""
    pixels = spec.resolution**2
    require_memory(
        pixels * (16 * count + 100 * min(count, _CHUNK)),
        what=f"{count:,} images of {spec.resolution:,} pixels",
        remedy="lower data.num_train, data.num_test or data.resolution",
    )


def render(spec: Shapes, indices: Tensor) -> Split:
    """The images at some int64 indices (N), with labels, boxes, masks and depth."""
    labels = indices % _TEST_OFFSET % spec.num_classes
    pose = _Draws(spec, "shapes pose", indices, 5)
    x, y = _grid(spec.resolution)  # H×W
    centre_x, centre_y = (pose.between(-spec.shift, spec.shift) for _ in range(2))
    size = pose.between(*spec.size)
    angle = pose.between(-spec.rotation, spec.rotation)
    u, v = (x - centre_x) / size, (y - centre_y) / size
    u, v = u * angle.cos() + v * angle.sin(), v * angle.cos() - u * angle.sin()
    outline, pattern = _by_class(labels, u, v, pose.between(0, 1))
    distance = outline * size  # N×H×W, in half image sides, negative inside

    pixel = 2 / spec.resolution
    inside = (0.5 - distance / pixel).clamp(0, 1)
    second = (0.5 + pattern * size / pixel).clamp(0, 1)
    looks = _Draws(spec, "shapes looks", indices, 18 + 4 * _WAVES)
    height = _relief(distance)
    first_colour, second_colour, backgrounds = _colours(looks)
    surface = torch.lerp(first_colour, second_colour, second[:, None])
    surface = surface * _light(looks, height, pixel)[:, None]
    ground = torch.lerp(*backgrounds, _clutter(looks, x, y)[:, None])
    ground = ground * (1 - 0.45 * torch.exp(-distance.clamp(min=0) / 0.08))[:, None]
    image = torch.lerp(ground, surface, inside[:, None]) * looks.between(0.75, 1.1)[:, None]

    masks = distance < 0
    return Split(
        images=(image.clamp(0, 1) * 255).round().to(torch.uint8),
        labels=labels,
        boxes=_boxes(masks),
        masks=masks,
        depth=_depth(looks, x, y, height, masks),
    )


class _Draws:
    """Uniform numbers of some images, handed out one N×1×1 column after the other."""

    def __init__(self, spec: Shapes, purpose: str, indices: Tensor, count: int) -> None:
        self._columns = iter(uniform(stream_key(spec.seed, purpose), indices, count).unbind(1))

    def between(self, low: float, high: float) -> Tensor:
        """The next number, uniform in [low, high)."""
        return (low + (high - low) * next(self._columns))[:, None, None]


def _grid(resolution: int) -> tuple[Tensor, Tensor]:
    """x and y of the pixels' centres, H×W each, -1..1 from edge to edge."""
    side = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    y, x = torch.meshgrid(side, side, indexing="ij")
    return x, y


def _by_class(labels: Tensor, u: Tensor, v: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Outline and pattern of each image's class, N×H×W each, in the object's units."""
    outline, pattern = torch.empty_like(u), torch.empty_like(u)
    for label, name in enumerate(CLASSES):
        rows = labels == label
        outline[rows] = OUTLINES[name](u[rows], v[rows])
        pattern[rows] = PATTERNS[PATTERN_OF[name]](u[rows], v[rows], phase[rows])
    return outline, pattern


def _relief(distance: Tensor) -> Tensor:
    """Height of the object, a rim that rises like a quarter circle to a flat top, N×H×W."""
    rim = 0.25
    slope = (1 + distance / rim).clamp(0, 1)
    return rim * torch.sqrt(1 - slope * slope)


def _light(looks: _Draws, height: Tensor, pixel: float) -> Tensor:
    """Brightness of the surface under a lamp from a random side, N×H×W, 1 on flat ground."""
    azimuth, strength = looks.between(0, 2 * math.pi), looks.between(0.2, 0.5)
    down, right = torch.gradient(height, spacing=pixel, dim=(1, 2))
    facing = right * azimuth.cos() + down * azimuth.sin()
    return 1 - strength * facing / torch.sqrt(1 + right * right + down * down)


def _colours(looks: _Draws) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """First and second colour of the object and two of the background, N×3×1×1 each.

    The object's two differ in luma by 0.25 to 0.45 in either direction, so that the pattern
    shows in grey too.
    """
    luma, step = looks.between(0, 1), looks.between(0.25, 0.45)
    low = 0.15 + luma * (0.7 - step)
    swap = looks.between(0, 1) < 0.5
    first = _colour(looks, torch.where(swap, low, low + step), 0.4)
    second = _colour(looks, torch.where(swap, low + step, low), 0.4)
    ground = looks.between(0.15, 0.85)
    return first, second, (_colour(looks, ground, 0.25), _colour(looks, ground + 0.15, 0.25))


def _colour(looks: _Draws, luma: Tensor, chroma: float) -> Tensor:
    """N×3×1×1 of that luma (before clipping) and a random hue."""
    hue, amount = looks.between(0, 2 * math.pi), chroma * looks.between(0.2, 1)
    red, blue = amount * hue.cos(), amount * hue.sin()  # R - Y and B - Y
    green = -(_LUMA[0] * red + _LUMA[2] * blue) / _LUMA[1]
    return (luma[:, None] + torch.stack([red, green, blue], 1)).clamp(0, 1)


def _clutter(looks: _Draws, x: Tensor, y: Tensor) -> Tensor:
    """Low-frequency mixture of the two backgrounds, N×H×W in 0..1."""
    total = torch.zeros(())
    for _ in range(_WAVES):
        angle, frequency = looks.between(0, 2 * math.pi), looks.between(0.5, 3.5)
        phase, weight = looks.between(0, 2 * math.pi), looks.between(0.3, 1)
        total = total + weight * torch.sin(frequency * (x * angle.cos() + y * angle.sin()) + phase)
    return torch.sigmoid(2 * total)


def _boxes(masks: Tensor) -> Tensor:
    """(left, top, right, bottom) around each mask, N×4 float32; all 0 for an empty one."""
    edges = []
    for axis in (1, 2):  # columns, then rows
        occupied = masks.any(axis)
        length = occupied.shape[1]
        first = occupied.to(torch.uint8).argmax(1)
        last = length - occupied.flip(1).to(torch.uint8).argmax(1)
        edges.append((first, torch.where(occupied.any(1), last, 0)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], 1).to(torch.float32)


def _depth(looks: _Draws, x: Tensor, y: Tensor, height: Tensor, masks: Tensor) -> Tensor:
    """Distance from the camera, N×H×W: a tilted plane, the object floating before it."""
    plane = 2 + looks.between(-0.3, 0.3) * x + looks.between(-0.3, 0.3) * y
    front = plane - looks.between(0.1, 0.5) - height
    return torch.where(masks, front, plane)
