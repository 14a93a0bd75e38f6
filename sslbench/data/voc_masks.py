"""The masks of VOC's layout: SegmentationClass and SegmentationObject, palette PNGs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslbench.data.label_maps import each, nearest, read_label_map, require_values
from sslbench.data.objects import Box, Thing
from sslbench.data.split import VOID
from sslbench.errors import UserError

_SAME = 0.3  # the least overlap of an object's box and its mask's: void borders make masks smaller

Give = Callable[[], Sequence[np.ndarray]]


@dataclass(eq=False)
class Masks:
    """The label maps of the listed images, all of which have both.

    Attributes:
        base: the folder with SegmentationClass/ and SegmentationObject/.
        lacking: objects of the XML without a mask, which are taken as crowds.
        added: masks without an object in the XML, which become one.
    """

    base: Path
    num_classes: int
    lacking: int = field(default=0, init=False)
    added: int = field(default=0, init=False)

    def maps(self, names: Sequence[str], resolution: int) -> Tensor:
        """uint8 N×R×R as `Split.semantic`. Raises UserError: a number is of no class, or an image
        is void all over."""
        allowed = [*range(self.num_classes + 1), VOID]

        def small(path: Path) -> np.ndarray:
            values = require_values(read_label_map(path), allowed, path)
            found = nearest(values, resolution)
            if (found == VOID).all():
                raise UserError(
                    f"'{path}' is void all over at {resolution} pixels; mend it, or take it off "
                    "the lists."
                )
            return found

        return torch.from_numpy(np.stack(each(small, [self._class(n) for n in names])))

    def matched(self, name: str, things: Sequence[Thing]) -> tuple[list[Thing], Give]:
        """The objects of an image, each with its mask, and what gives the masks.

        The numbers in SegmentationObject and the objects of the XML are brought together by class
        and place. Raises UserError: the maps contradict each other.
        """
        kinds, numbers = self._both(name)
        shown = [n for n in np.unique(numbers).tolist() if n not in (0, VOID)]
        seen = {n: self._thing(name, numbers == n, kinds) for n in shown}
        owner = _matches(things, seen)
        kept = [
            t if i in owner else Thing(t.label, t.box, crowd=True) for i, t in enumerate(things)
        ]
        rest = [n for n in shown if n not in owner.values()]
        self.lacking += len(things) - len(owner)
        self.added += len(rest)
        order = [owner.get(i) for i in range(len(things))] + rest

        def give() -> list[np.ndarray]:
            numbers = self._both(name)[1]
            return [
                _filled(numbers.shape, thing.box) if n is None else numbers == n
                for n, thing in zip(order, found, strict=True)
            ]

        found = [*kept, *(seen[n] for n in rest)]
        return found, give

    def notes(self) -> tuple[str, ...]:
        """What a user should know of them, in sentences."""
        found = []
        if self.lacking:
            found.append(f"objects without a mask of their own, which count as crowds: "
                         f"{self.lacking}.")  # fmt: skip
        if self.added:
            found.append(f"masks without an object in the XML, whose box is the mask's: "
                         f"{self.added}.")  # fmt: skip
        return tuple(found)

    def _class(self, name: str) -> Path:
        return self.base / "SegmentationClass" / f"{name}.png"

    def _both(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        kinds = read_label_map(self._class(name))
        other = self.base / "SegmentationObject" / f"{name}.png"
        numbers = read_label_map(other)
        if kinds.shape != numbers.shape:
            raise UserError(f"'{other}' is of another size than '{self._class(name)}'; bring them "
                            "together.")  # fmt: skip
        return kinds, numbers

    def _thing(self, name: str, mask: np.ndarray, kinds: np.ndarray) -> Thing:
        """What a mask shows: the class of most of its pixels."""
        counts = np.bincount(kinds[mask], minlength=256)[1 : self.num_classes + 1]
        if counts.sum() == 0:
            raise UserError(f"'{self._class(name)}' has no class for an object of "
                            "SegmentationObject; mend it.")  # fmt: skip
        return Thing(int(counts.argmax()), box_of(mask))


def masks_of(base: Path, names: Sequence[str]) -> list[str]:
    """Those of the images that have both label maps."""
    folders = [base / f"Segmentation{kind}" for kind in ("Class", "Object")]
    return [n for n in names if all((f / f"{n}.png").is_file() for f in folders)]


def box_of(mask: np.ndarray) -> Box:
    """(left, top, right, bottom) of a mask that is not empty, right and bottom one past it."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _matches(things: Sequence[Thing], seen: dict[int, Thing]) -> dict[int, int]:
    """Position of an object to the number of its mask, the best overlap first."""
    pairs = [
        (-_overlap(thing.box, other.box), i, n)
        for i, thing in enumerate(things)
        for n, other in seen.items()
        if thing.label == other.label
    ]
    owner: dict[int, int] = {}
    for negative, i, n in sorted(pairs):
        if -negative >= _SAME and i not in owner and n not in owner.values():
            owner[i] = n
    return owner


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / max(sum(areas) - width * height, 1e-9)


def _filled(shape: tuple[int, ...], box: Box) -> np.ndarray:
    """A mask that is all of a box."""
    mask = np.zeros(shape, dtype=np.bool_)
    left, top, right, bottom = (max(0, round(x)) for x in box)
    mask[top:bottom, left:right] = True
    return mask
