"""The layout of PASCAL VOC: XML boxes, lists of images, and masks where they are drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sslbench.data import layouts
from sslbench.data.dataset import Raw
from sslbench.data.label_maps import each
from sslbench.data.objects import Picture, Thing, present, splits
from sslbench.data.split import Split
from sslbench.data.voc_masks import Masks, masks_of
from sslbench.data.voc_xml import Annotation, read_annotation
from sslbench.errors import UserError
from sslbench.files import read_text

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_LISTS = ("train", "val", "trainval", "test")
_FLAG = re.compile(r"\s+-?[01]$")  # of a list for one class, behind an image's name


def voc(folder: Path, resolution: int) -> Raw:
    """The images of ImageSets/Main, or of ImageSets/Segmentation where there is no Main.

    Boxes, multi-labels and what a test does not ask for; semantic and instance masks when every
    image has both. Classes are VOC's twenty where all names are of these, else the names found, in
    sorted order.

    Raises:
        UserError: a list, annotation or image is missing, damaged, or contradicts another.
    """
    return _read(folder, ("Main", "Segmentation"), resolution)


def voc_segmentation(folder: Path, resolution: int) -> Raw:
    """The images of ImageSets/Segmentation alone, all of which have masks.

    Raises:
        UserError: as `voc`, or an image has no masks.
    """
    return _read(folder, ("Segmentation",), resolution)


def _read(folder: Path, lists: Sequence[str], resolution: int) -> Raw:
    base = layouts.found_below(
        folder, lambda f: (f / "Annotations").is_dir() and (f / "JPEGImages").is_dir(),
        what="a folder with JPEGImages/ and Annotations/",
    )  # fmt: skip
    train, test, notes = _listed(base, lists)
    names = [*train, *test]
    records = dict(zip(names, each(read_annotation, [_xml(base, n) for n in names]), strict=True))
    masks, told = _masks(base, names, required="Main" not in lists)
    classes = _classes(base, [*records.values()], numbered=masks)
    places = {name: i for i, name in enumerate(classes)}
    things = {
        name: [Thing(places[o.name], o.box, o.difficult) for o in record.objects]
        for name, record in records.items()
    }
    maps = Masks(base, len(classes)) if masks else None
    pictures = _pictures(base, records, things, maps)
    halves = [[pictures[n] for n in half] for half in (train, test)]
    raw = splits(halves[0], halves[1], classes, resolution, masks=masks)
    first, second = (
        _labelled(split, [things[n] for n in half], len(classes))
        for split, half in ((raw.train, train), (raw.test, test))
    )
    if maps is not None:
        first = replace(first, semantic=maps.maps(train, resolution))
        second = replace(second, semantic=maps.maps(test, resolution))
        told = (*told, *maps.notes())
    return replace(raw, train=first, test=second, notes=(*notes, *told, *raw.notes))


def _labelled(split: Split, things: Sequence[Sequence[Thing]], num_classes: int) -> Split:
    """With the classes that are in each image, and those of which only difficult objects are."""
    clear = present(things, num_classes, lambda thing: not thing.crowd)
    doubtful = present(things, num_classes, lambda _: True) & ~clear
    return replace(split, multilabels=clear, doubtful=doubtful)


def _masks(base: Path, names: Sequence[str], *, required: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether all images have masks, and what a user should know of that. Raises UserError: they
    are required, and one lacks them."""
    have = {*masks_of(base, names)}
    lacking = [name for name in names if name not in have]
    if not lacking or not required:
        note = (f"{len(have)} of {len(names)} images have masks, which are left out, since not all "
                "have them; voc-segmentation reads the images that do.")  # fmt: skip
        return not lacking, (note,) if have and lacking else ()
    raise UserError(
        f"'{base}' lacks SegmentationClass/{lacking[0]}.png or SegmentationObject/{lacking[0]}.png "
        f"({len(lacking)} images listed without masks); restore them, or read it as voc."
    )


def _xml(base: Path, name: str) -> Path:
    return base / "Annotations" / f"{name}.xml"


def _listed(base: Path, kinds: Sequence[str]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Names of the training and test images, and what a user should know of the lists."""
    kind = next((k for k in kinds if (base / "ImageSets" / k).is_dir()), kinds[0])
    folder = base / "ImageSets" / kind
    lists = {half: _names(folder / f"{half}.txt") for half in _LISTS}
    notes: tuple[str, ...] = ()
    untold = [n for n in lists["test"] if not _xml(base, n).is_file()]
    if lists["test"] and len(untold) == len(lists["test"]):
        notes = (f"test images are listed and not annotated, so 'val' is tested on: "
                 f"{len(untold)}.",)  # fmt: skip
        lists["test"] = []
    test = lists["test"] or lists["val"]
    rest = dict.fromkeys([*lists["train"], *lists["val"], *lists["trainval"]])
    train = [name for name in rest if name not in {*test}]
    if not train or not test:
        lacking = f"{'train' if not train else 'val'}.txt"
        raise UserError(
            f"'{folder}' names no images to {'train' if not train else 'test'} on; it needs a "
            f"{lacking} with an image's name a line."
        )
    return train, test, notes


def _names(path: Path) -> list[str]:
    """Of a list; none where there is no list."""
    if not path.is_file():
        return []
    lines = (_FLAG.sub("", line.strip()) for line in read_text(path).splitlines())
    return [*dict.fromkeys(filter(None, lines))]


def _classes(base: Path, records: Sequence[Annotation], *, numbered: bool) -> tuple[str, ...]:
    """Class names in label order; where masks number them, the order must be known."""
    found = {thing.name for record in records for thing in record.objects}
    if found <= {*CLASSES}:
        return CLASSES
    if not numbered:
        return tuple(sorted(found))
    path = base / "classes.txt"
    if not path.is_file():
        raise UserError(
            f"'{base / 'SegmentationClass'}' numbers classes that are not VOC's twenty; add "
            f"'{path}' with their names in the order of their numbers from 1, a line each."
        )
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    for name in sorted(found - {*names}):
        raise UserError(f"'{path}' lacks the class '{name}', which objects have; add it.")
    return names


def _pictures(
    base: Path,
    records: Mapping[str, Annotation],
    things: Mapping[str, Sequence[Thing]],
    maps: Masks | None,
) -> dict[str, Picture]:
    images = layouts.by_stem(base / "JPEGImages")
    found = {}
    for name, record in records.items():
        if name not in images:
            raise UserError(f"'{base / 'JPEGImages'}' has no image '{name}', which is listed; "
                            "restore it, or take it off the lists.")  # fmt: skip
        if maps is None:
            found[name] = Picture(images[name], record.size, things[name])
        else:
            found[name] = Picture(images[name], record.size, *maps.matched(name, things[name]))
    return found
