"""The layout of COCO: a JSON file a half, with boxes, masks and crowds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from sslbench.data import layouts
from sslbench.data.coco_masks import decoded, require_segmentation
from sslbench.data.dataset import Raw
from sslbench.data.objects import Picture, Thing, present, splits
from sslbench.errors import UserError
from sslbench.files import entries, read_json
from sslbench.typed import typed

_FILE = re.compile(r"instances_((train|val|test)[0-9A-Za-z-]*)\.json")


def coco(folder: Path, resolution: int) -> Raw:
    """annotations/instances_<half>.json beside <half>/ or images/<half>/ with the images, where a
    half is train, val or test with what may follow (train2017).

    Boxes, multi-labels, crowds; masks where every annotation has a segmentation. Labels are the
    category ids in ascending order, gaps closed. Images without an annotation are kept.

    Raises:
        UserError: a file is missing or damaged, an id stands twice or for nothing, a segmentation
            does not fit its image, or the halves name other categories.
    """
    base = layouts.found_below(
        folder, lambda f: bool(_files(f / "annotations")),
        what="a folder with annotations/instances_<half>.json",
    )  # fmt: skip
    halves = [_Half(base, name) for name in _halves(base)]
    train, test = layouts.divided(
        {half.kind: [half] for half in halves if half.annotations}, where=base,
        what="annotated images",
    )  # fmt: skip
    classes = _same_categories([*train, *test])
    places = {key: place for place, key in enumerate(sorted(classes))}
    masks = all(half.has_masks for half in (*train, *test))
    parts = [[p for half in part for p in half.pictures(places, masks)] for part in (train, test)]
    names = tuple(classes[key] for key in places)
    raw = splits(parts[0], parts[1], names, resolution, masks=masks)
    first, second = (
        replace(s, multilabels=present([p.things for p in part], len(names), lambda _: True))
        for s, part in zip((raw.train, raw.test), parts, strict=True)
    )
    return replace(raw, train=first, test=second)


class _Image(TypedDict):
    id: int
    file_name: str
    width: int
    height: int


class _Category(TypedDict):
    id: int
    name: str


class _Annotation(TypedDict):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: NotRequired[Literal[0, 1]]


class _Half:
    """What a JSON file says.

    Args:
        base: the folder of the set.
        name: of the half, as in the file's name.
    Raises:
        UserError: it is damaged, or contradicts itself.
    """

    def __init__(self, base: Path, name: str) -> None:
        self.kind = layouts.half_of(re.match("train|val|test", name)[0])  # type: ignore[index]
        self.folder, self.path = (
            _images(base, name),
            base / "annotations" / f"instances_{name}.json",
        )
        content = read_json(self.path)
        self.images = self._by_id(content, "images", _Image)
        self.categories = self._by_id(content, "categories", _Category)
        self.annotations = self._by_id(content, "annotations", _Annotation)
        self.segmentations = self._segmentations(content["annotations"])
        if len({c["name"] for c in self.categories.values()}) < len(self.categories):
            raise UserError(f"{self.path}: two categories have one name; rename one.")

    def _by_id(self, content: Any, key: str, cls: Any) -> dict[int, Any]:
        """The records of a list by their id. Raises UserError: it is no such list, or an id stands
        twice."""
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise UserError(f"{self.path} has no list '{key}', which COCO's instances have.")
        found: dict[int, Any] = {}
        for place, row in enumerate(rows):
            where = f"{self.path}: {key}[{place}]"
            known = {k: row[k] for k in cls.__annotations__ if k in row} if _is_dict(row) else row
            record = typed(known, cls, where=where)
            if record["id"] in found:
                raise UserError(f"{where}: id {record['id']} stands twice; each needs its own.")
            found[record["id"]] = record
        return found

    def _segmentations(self, rows: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
        """Of the annotations that have one, checked; and what an annotation refers to."""
        found = {}
        for row in rows:
            where = f"{self.path}: annotation {row['id']}"
            for key, known in (("image_id", self.images), ("category_id", self.categories)):
                if row[key] not in known:
                    raise UserError(
                        f"{where} names {key} {row[key]}, which the file does not have; mend or "
                        "remove it."
                    )
            if shape := row.get("segmentation"):
                image = self.images[row["image_id"]]
                size, crowd = (image["width"], image["height"]), bool(row.get("iscrowd", 0))
                require_segmentation(shape, size=size, crowd=crowd, where=where)
                found[row["id"]] = shape
        return found

    @property
    def has_masks(self) -> bool:
        """Whether every annotation has a segmentation."""
        return len(self.segmentations) == len(self.annotations)

    def pictures(self, places: Mapping[int, int], masks: bool) -> list[Picture]:
        """Every image in the order of the ids, `places` the labels of the categories."""
        own: dict[int, list[_Annotation]] = {key: [] for key in self.images}
        for annotation in self.annotations.values():
            own[annotation["image_id"]].append(annotation)
        return [self._picture(self.images[key], own[key], places, masks) for key in sorted(own)]

    def _picture(
        self, image: _Image, own: Sequence[_Annotation], places: Mapping[int, int], masks: bool
    ) -> Picture:
        size = image["width"], image["height"]

        def give() -> list[np.ndarray]:
            try:
                return [decoded(self.segmentations[a["id"]], size) for a in own]
            except UserError as error:
                raise UserError(
                    f"{self.path}: of {image['file_name']}, {error}; mend it."
                ) from None

        return Picture(self._file(image), size, [_thing(a, places) for a in own],
                       give if masks else None)  # fmt: skip

    def _file(self, image: _Image) -> Path:
        name = PurePosixPath(image["file_name"])
        if name.is_absolute() or ".." in name.parts:
            raise UserError(
                f"{self.path}: '{name}' leads out of the folder of the images; mend it."
            )
        file = self.folder / name
        if not file.is_file():
            raise UserError(
                f"'{file}' is not there, which {self.path.name} lists; restore it, or take it off "
                "the list."
            )
        return file


def _thing(annotation: _Annotation, places: Mapping[int, int]) -> Thing:
    left, top, width, height = annotation["bbox"]
    return Thing(
        places[annotation["category_id"]],
        (left, top, left + width, top + height),
        crowd=annotation.get("iscrowd", 0) == 1,
    )


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _files(folder: Path) -> list[str]:
    """The halves whose JSON files lie in a folder, by name."""
    found = (_FILE.fullmatch(path.name) for path in entries(folder))
    return [match[1] for match in found if match]


def _images(base: Path, name: str) -> Path:
    """The folder with the images of a half."""
    inside = base / "images" / name
    return inside if inside.is_dir() else base / name


def _halves(base: Path) -> list[str]:
    """The halves whose images are there. Raises UserError: two of one kind (two years) are, or
    none."""
    found: dict[str, str] = {}
    for name in _files(base / "annotations"):
        kind = re.match("train|val|test", name)[0]  # type: ignore[index]
        if not _images(base, name).is_dir():
            continue
        if kind in found:
            raise UserError(f"'{base}' has images of both {found[kind]} and {name}; keep one in a "
                            "folder.")  # fmt: skip
        found[kind] = name
    if not found:
        names = _files(base / "annotations")
        raise UserError(f"'{base}' has no folder {names[0]}/ or images/{names[0]}/ with the images "
                        "of annotations/.")  # fmt: skip
    return [*found.values()]


def _same_categories(halves: Sequence[_Half]) -> dict[int, str]:
    """Id to name. Raises UserError: there are none, or the halves differ."""
    first, *others = ({key: c["name"] for key, c in half.categories.items()} for half in halves)
    for half, other in zip(halves[1:], others, strict=True):
        if other != first:
            raise UserError(
                f"{half.path} and {halves[0].path} name different categories; give both the same "
                "ids and names."
            )
    if not first:
        raise UserError(f"{halves[0].path} has no categories; add them.")
    return first
