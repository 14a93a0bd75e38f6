"""Folders of images and of label maps, as CamVid, ADE20K and many others have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sslbench.data import layouts
from sslbench.data.dataset import Raw
from sslbench.data.label_maps import each, nearest, read_label_map, require_values
from sslbench.data.photographs import Size, decode_whole
from sslbench.data.split import BACKGROUND, VOID, Split
from sslbench.errors import UserError
from sslbench.files import read_json, read_text
from sslbench.memory import require_memory
from sslbench.typed import typed

LAYOUT = layouts.Layout(
    others=("labels", "label", "annotations", "masks", "annot"),
    endings=("", "_mask", "_label", "_L"),
    what="label maps",
)
VOIDS = frozenset({"void", "unlabelled", "unlabeled", "ignore", "ignored", "unknown"})
GROUND = "background"
_ADE20K = "objectInfo150.txt"  # beside its images/ and annotations/; number and names, by tabs


def segmentation(folder: Path, resolution: int) -> Raw:
    """Pairs of an image and a label map, whose numbers the class file names.

    Void is 255, and every number whose class is named as in `VOIDS`; a class named background is
    none of the classes. ADE20K's own files need no class file: 0 is void there.

    Raises:
        UserError: there is no class file, a map has a number without a class, is of another size
            than its image, or is void all over; or a file is damaged.
    """
    found = LAYOUT.halves(folder)
    naming = _Naming.of(folder, found.base)
    pairs = [*found.train, *found.test]
    require_memory(
        4 * len(pairs) * resolution**2,
        what=f"{len(pairs):,} images and label maps of {resolution:,} pixels",
        remedy="lower data.resolution",
    )
    maps = each(lambda path: naming.read(path, resolution), [pair.other for pair in pairs])
    decoded = decode_whole([p.image for p in pairs], resolution, [size for _, size in maps])
    semantic = torch.from_numpy(np.stack([small for small, _ in maps]))
    count = len(found.train)
    halves = [Split(decoded.images[s], semantic=semantic[s]) for s in _halves(count)]
    notes = (*found.notes, *_notes(halves, naming.classes), *decoded.notes)
    return Raw(halves[0], halves[1], naming.classes, notes=notes)


def _halves(count: int) -> tuple[slice, slice]:
    return slice(None, count), slice(count, None)


def _notes(halves: Sequence[Split], classes: tuple[str, ...]) -> tuple[str, ...]:
    """On classes of the test half that training images do not show."""
    shown = []
    for half in halves:
        assert half.semantic is not None
        shown.append({*np.unique(half.semantic.numpy()).tolist()} - {BACKGROUND, VOID})
    if unseen := [classes[i - 1] for i in sorted(shown[1] - shown[0])]:
        more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
        return (f"test images show classes that no training image does ({', '.join(unseen[:5])}"
                f"{more}), of which nothing can be learned.",)  # fmt: skip
    return ()


@dataclass(frozen=True)
class _Naming:
    """What the numbers of label maps mean.

    Attributes:
        classes: names in label order.
        meaning: number to what `Split.semantic` has for it.
        where: what says so, for a sentence.
    """

    classes: tuple[str, ...]
    meaning: Mapping[int, int]

    @classmethod
    def of(cls, *folders: Path) -> _Naming:
        """From the class file in one of the folders. Raises UserError: there is none, or it names a
        class twice or too many."""
        for folder in folders:
            for name, read in (("classes.json", _listed), ("classes.txt", _lines),
                               (_ADE20K, _ade20k)):  # fmt: skip
                if (path := folder / name).is_file():
                    return cls._from(read(path), path)
        raise UserError(
            f"'{folders[-1]}' has no classes.txt, which names the numbers of the label maps from 0 "
            "on, a line each: 'void' for one that is no class, 'background' for what is none of "
            "them. Add it, or classes.json, a list of the names."
        )

    @classmethod
    def _from(cls, names: Sequence[str], path: Path) -> _Naming:
        meaning, classes = {VOID: VOID}, []
        for number, name in enumerate(names):
            word = name.strip().lower().strip("_")
            if word in VOIDS:
                meaning[number] = VOID
            elif word == GROUND:
                meaning[number] = BACKGROUND
            elif number >= VOID or not word:
                raise UserError(f"'{path}' gives number {number} the name '{name}'; numbers go up "
                                "to 254, and each needs a name ('void' for none).")  # fmt: skip
            else:
                classes.append(name.strip())
                meaning[number] = len(classes)
        twice = [name for name, count in Counter(classes).items() if count > 1]
        if twice or not classes:
            state = f"the class '{twice[0]}' twice" if twice else "no class"
            raise UserError(f"'{path}' names {state}; mend it.")
        return cls(tuple(classes), meaning)

    def read(self, path: Path, resolution: int) -> tuple[np.ndarray, Size]:
        """A label map as `Split.semantic` has it, uint8 R×R, and the size that it had."""
        values = require_values(read_label_map(path), [*self.meaning], path)
        table = np.zeros(256, dtype=np.uint8)
        table[[*self.meaning]] = [*self.meaning.values()]
        small = nearest(table[values], resolution)
        if (small == VOID).all():
            raise UserError(
                f"'{path}' is void all over at {resolution} pixels; mend it, or remove it and its "
                "image."
            )
        height, width = values.shape
        return small, (width, height)


def _lines(path: Path) -> list[str]:
    """A name a line; empty lines at the end do not count."""
    return read_text(path).rstrip().splitlines()


def _listed(path: Path) -> Sequence[str]:
    names: tuple[str, ...] = typed(read_json(path), tuple[str, ...], where=str(path))
    return names


def _ade20k(path: Path) -> list[str]:
    """Of the table that comes with ADE20K, and void for 0."""
    rows = [line.split("\t") for line in read_text(path).splitlines()[1:] if line.strip()]
    if not all(len(row) > 1 and row[0].strip() == str(i) for i, row in enumerate(rows, 1)):
        raise UserError(f"'{path}' is not ADE20K's table of classes; get it again.")
    return ["void", *(row[-1] for row in rows)]
