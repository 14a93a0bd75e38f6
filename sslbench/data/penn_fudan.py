"""The Penn-Fudan database: pedestrians in PNGImages/, their masks in PedMasks/."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sslbench.data import layouts
from sslbench.data.dataset import Raw
from sslbench.data.label_maps import each, read_label_map
from sslbench.data.objects import Box, Picture, Thing, splits
from sslbench.data.photographs import Size
from sslbench.data.voc_masks import box_of

_ENDING = "_mask"  # behind an image's name in that of its label map


def penn_fudan(folder: Path, resolution: int) -> Raw:
    """Boxes and masks of pedestrians. A mask's file has 0 for the ground and k for the k-th one;
    the box is what the mask fills. There is no published division: a quarter is tested on.

    Raises:
        UserError: an image and its label map are not as large as each other, or one is damaged.
    Source: Wang et al. 2007, "Object Detection Combining Recognition and Segmentation", whose data
    it is; the division is ours.
    """
    base = layouts.found_below(
        folder, lambda f: (f / "PNGImages").is_dir() and (f / "PedMasks").is_dir(),
        what="a folder with PNGImages/ and PedMasks/",
    )  # fmt: skip
    images, masks = (layouts.by_stem(base / name) for name in ("PNGImages", "PedMasks"))
    names = [name for name in images if name + _ENDING in masks]
    found = each(_people, [masks[name + _ENDING] for name in names])
    pictures = [people.picture(images[name]) for name, people in zip(names, found, strict=True)]
    train, test = layouts.quartered(pictures, what=f"images with a label map in '{base}'")
    raw = splits(train, test, ("pedestrian",), resolution, masks=True)
    left = len(images) - len(names)
    told = (f"images without a label map, which were left out: {left}.",) if left else ()
    return replace(raw, notes=(*told, layouts.QUARTER_NOTE, *raw.notes))


@dataclass(frozen=True)
class _People:
    """What a label map shows: the number of each pedestrian, and what it fills."""

    path: Path
    size: Size
    boxes: dict[int, Box]

    def picture(self, image: Path) -> Picture:
        things = [Thing(0, box) for box in self.boxes.values()]
        return Picture(image, self.size, things, self.masks)

    def masks(self) -> list[np.ndarray]:
        values = read_label_map(self.path)
        return [values == number for number in self.boxes]


def _people(path: Path) -> _People:
    values = read_label_map(path)
    numbers = [n for n in np.unique(values).tolist() if n != 0]
    return _People(path, values.shape[::-1], {n: box_of(values == n) for n in numbers})
