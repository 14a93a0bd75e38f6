"""Photographs with objects in them, as readers find them, made into the two splits of a set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslbench.data.dataset import Raw
from sslbench.data.label_maps import nearest
from sslbench.data.photographs import Size, decode_whole
from sslbench.data.split import Instances, Split
from sslbench.errors import UserError
from sslbench.memory import require_memory

Box = tuple[float, float, float, float]
_SLACK = 1.0  # pixels by which boxes commonly reach out of their image, from rounding


@dataclass(frozen=True)
class Thing:
    """One object of an image.

    Attributes:
        label: position in the set's classes.
        box: (left, top, right, bottom) in the image's own pixels, right and bottom one past the
            last.
        crowd: as `Instances.crowd`.
    """

    label: int
    box: Box
    crowd: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """One image with what its annotations say.

    Attributes:
        size: of the image, as the annotations state it; None where they do not.
        masks: what gives bool H×W of each of `things`, of the stated size; None without masks.
    """

    file: Path
    size: Size | None
    things: Sequence[Thing]
    masks: Callable[[], Sequence[np.ndarray]] | None = None


def splits(
    train: Sequence[Picture],
    test: Sequence[Picture],
    classes: tuple[str, ...],
    resolution: int,
    *,
    masks: bool,
) -> Raw:
    """Both halves, each image squashed to a square and boxes and masks with it.

    Args:
        masks: whether every picture has them.
    Raises:
        UserError: no image of a half has an object; an image cannot be read, or is not as its
            annotations say; or memory does not suffice.
    """
    pictures = [*train, *test]
    _require_memory(sum(len(p.things) for p in pictures) if masks else 0, resolution)
    decoded = decode_whole([p.file for p in pictures], resolution, [p.size for p in pictures])
    told = _Told(resolution)
    halves = []
    for start, half in ((0, train), (len(train), test)):
        sizes = decoded.sizes[start : start + len(half)]
        found = _instances(half, sizes, resolution, masks=masks, told=told)
        halves.append(Split(decoded.images[start : start + len(half)], instances=found))
    learned, asked = map(_solid, halves, ("training", "test"))
    told.unseen = sorted(asked - learned)
    empty = [sum(not p.things for p in half) for half in (train, test)]
    count = sum(len(p.things) for p in pictures) - told.flat
    notes = told.sentences(classes, count, empty)
    return Raw(halves[0], halves[1], classes, notes=(*notes, *decoded.notes))


def present(
    things: Sequence[Sequence[Thing]], num_classes: int, wanted: Callable[[Thing], bool]
) -> Tensor:
    """bool N×C: of which classes each image has an object that is wanted.

    Args:
        things: the objects of each image.
    """
    found = torch.zeros(len(things), num_classes, dtype=torch.bool)
    for row, own in enumerate(things):
        for thing in filter(wanted, own):
            found[row, thing.label] = True
    return found


def _solid(split: Split, half: str) -> set[int]:
    """The classes of a half's objects, but for crowds. Raises UserError: there are none."""
    found = split.instances
    assert found is not None and found.crowd is not None
    labels = found.label[~found.crowd].tolist()
    if not labels:
        raise UserError(
            f"None of the {len(split)} {half} images has an object that is no crowd and not "
            "difficult, so there is nothing to find; check their annotations."
        )
    return {*labels}


@dataclass(eq=False)
class _Told:
    """What a user should know of the objects of a set."""

    resolution: int
    flat: int = 0
    cut: int = 0
    thin: int = 0
    hidden: int = 0
    unseen: list[int] = field(default_factory=list)

    def sentences(
        self, classes: tuple[str, ...], count: int, empty: Sequence[int]
    ) -> Iterable[str]:
        if self.flat:
            yield f"boxes left out, since they have no width or height in their image: {self.flat}."
        if self.cut:
            yield f"boxes that reach out of their image and were cut at its edge: {self.cut}."
        if self.thin:
            yield (
                f"{self.thin} of {count} boxes are narrower than a pixel of {self.resolution}, and "
                "hardly to be found; a larger data.resolution makes them fewer."
            )
        if self.hidden:
            yield f"masks too small for any pixel, which got their middle one: {self.hidden}."
        for number, half in zip(empty, ("training", "test"), strict=True):
            if number:
                yield f"{half} images without any object, which are kept: {number}."
        if self.unseen:
            names = ", ".join(classes[i] for i in self.unseen[:5])
            more = f" and {len(self.unseen) - 5} more" if len(self.unseen) > 5 else ""
            yield (
                f"test images show classes that no training image does ({names}{more}), of which "
                "nothing can be learned."
            )


def _instances(
    pictures: Sequence[Picture], sizes: np.ndarray, resolution: int, *, masks: bool, told: _Told
) -> Instances:
    """Of one half; `sizes` N×2 are width and height of its images."""
    image: list[int] = []
    kept: list[Thing] = []
    boxes: list[Box] = []
    shown: list[np.ndarray] = []
    for row, (picture, size) in enumerate(zip(pictures, sizes.tolist(), strict=True)):
        own = picture.masks() if masks and picture.masks is not None else None
        for place, thing in enumerate(picture.things):
            box = _scaled(thing.box, size, resolution, told)
            if box is None:
                continue
            image.append(row)
            kept.append(thing)
            boxes.append(box)
            if own is not None:
                shown.append(_mask(own[place], box, size, resolution, picture.file, told))
    return Instances(
        image=torch.tensor(image, dtype=torch.int64),
        box=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        label=torch.tensor([t.label for t in kept], dtype=torch.int64),
        mask=_stacked(shown, resolution) if masks else None,
        crowd=torch.tensor([t.crowd for t in kept], dtype=torch.bool),
    )


def _stacked(masks: list[np.ndarray], resolution: int) -> Tensor:
    if not masks:
        return torch.zeros(0, resolution, resolution, dtype=torch.bool)
    return torch.from_numpy(np.stack(masks))


def _scaled(box: Box, size: Size, resolution: int, told: _Told) -> Box | None:
    """The box in the square image, cut at its edge; None if nothing is left of it in float32."""
    width, height = size
    left, top, right, bottom = box
    inside = (max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))
    scale = np.array([width, height, width, height]) / resolution
    x = np.minimum(np.array(inside) / scale, resolution).astype(np.float32)
    if not (x[0] < x[2] and x[1] < x[3]):
        told.flat += 1
        return None
    told.cut += max(abs(a - b) for a, b in zip(inside, box, strict=True)) > _SLACK
    told.thin += bool(min(x[2] - x[0], x[3] - x[1]) < 1)
    return float(x[0]), float(x[1]), float(x[2]), float(x[3])


def _mask(
    mask: np.ndarray, box: Box, size: Size, resolution: int, file: Path, told: _Told
) -> np.ndarray:
    """bool R×R, with at least one pixel."""
    if mask.shape != (size[1], size[0]):
        raise UserError(
            f"'{file}' has {size[0]}×{size[1]} pixels, and a mask of it {mask.shape[1]}×"
            f"{mask.shape[0]}; masks must be as large as their image."
        )
    small = nearest(mask, resolution)
    if not small.any():
        told.hidden += 1
        column, row = ((box[i] + box[i + 2]) / 2 for i in (0, 1))
        small[min(int(row), resolution - 1), min(int(column), resolution - 1)] = True
    return small


def _require_memory(num_masks: int, resolution: int) -> None:
    require_memory(
        2 * num_masks * resolution**2,
        what=f"{num_masks:,} masks of {resolution:,} pixels",
        remedy="lower data.resolution or use fewer images",
    )
