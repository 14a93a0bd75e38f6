"""Data sets that are folders of image files."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sslbench.data import listing
from sslbench.data.dataset import Raw
from sslbench.data.photographs import decode
from sslbench.data.split import Split
from sslbench.data.subsets import stratified
from sslbench.errors import UserError
from sslbench.files import read_text, reading

FLAT_TEST_SHARE = 0.1


def class_folders(folder: Path, resolution: int) -> Raw:
    """train/<class>/ and val/<class>/, or test/ without a val/.

    Classes are in the order of their sorted names, as in torchvision's ImageFolder. A name of one
    half is that of the other also where its accents are encoded differently, as macOS does.

    Raises:
        UserError: a part is missing or empty, there is one class, or the two disagree.
    """
    inner = listing.nested(folder)
    train, test = inner / "train", inner / "val"
    if not test.is_dir():
        test = inner / "test"
    for part, name in ((train, "train/"), (test, "val/ or test/")):
        if not part.is_dir():
            raise UserError(
                f"'{inner}' has no {name}; a labelled set needs train/<class>/ and val/<class>/ "
                "(use --dataset flat:PATH for images without labels)."
            )
    names, test_names = _class_names(train), _class_names(test)
    _same_classes(names, test_names, train, test)
    parts = [_Labelled(train, [*names.values()]), _Labelled(test, [test_names[n] for n in names])]
    first, second, notes = _decoded(parts, resolution)
    left = [f"{p.folder.name}/{name}" for p in parts for name in p.left_out]
    return Raw(first, second, tuple(names.values()), notes=(*_left_out(left), *notes))


def flat(folder: Path, resolution: int) -> Raw:
    """All images below a folder, without labels: nine tenths to train on, a tenth to test.

    Raises:
        UserError: there are fewer than two images.
    """
    names, left = listing.sort_out(folder)
    if len(names) < 2:
        raise UserError(
            f"'{folder}' holds {'one image' if names else 'no images'}; use two or more."
        )
    test = stratified(None, len(names), max(1, round(FLAT_TEST_SHARE * len(names))), purpose="flat")
    decoded = decode([folder / name for name in names], resolution)
    kept = torch.ones(len(names), dtype=torch.bool)
    kept[test] = False
    halves = Split(decoded.images[kept]), Split(decoded.images[test])
    return Raw(*halves, (), notes=(*_left_out(left), *decoded.notes))


def tiny_imagenet(folder: Path, resolution: int) -> Raw:
    """train/<wnid>/images/ and val/val_annotations.txt, with the wnids as class names.

    Raises:
        UserError: a file is missing or an annotation names an unknown class.
    """
    inner = listing.nested(folder)
    classes = tuple(sorted(set(read_text(inner / "wnids.txt").split())))
    train = _Labelled(inner / "train", classes)
    notes = inner / "val" / "val_annotations.txt"
    test = _Labelled(inner / "val" / "images", ())
    places = {name: i for i, name in enumerate(classes)}
    for line in read_text(notes).splitlines():
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in places:
            raise UserError(
                f"'{notes}' gives '{name}' the class '{wnid}', which wnids.txt lacks; "
                "the file is damaged, get it again."
            )
        test.add(name, places[wnid])
    first, second, found = _decoded([train, test], resolution)
    return Raw(first, second, classes, notes=found)


class _Labelled:
    """Image files of one half with their labels. Raises UserError for a class without any.

    Args:
        folder: the half.
        classes: its folders in label order.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.labels: list[int] = []
        self.left_out: list[str] = []
        for label, name in enumerate(classes):
            images, others = listing.sort_out(folder / name)
            if not images:
                raise UserError(
                    f"'{folder / name}' holds no images; add some, or remove the class from every "
                    "split."
                )
            for image in images:
                self.add(f"{name}/{image}", label)
            self.left_out += [f"{name}/{other}" for other in others]
        if classes:
            self.left_out += listing.loose(folder)

    def add(self, name: str, label: int) -> None:
        """One more image, by its path below the folder."""
        self.files.append(self.folder / name)
        self.labels.append(label)


def _decoded(parts: Sequence[_Labelled], resolution: int) -> tuple[Split, Split, tuple[str, ...]]:
    """Train and test, decoded together so that they get one scale, and the notes of it."""
    train, test = parts
    decoded = decode([*train.files, *test.files], resolution)
    images: list[Tensor] = [decoded.images[: len(train.files)], decoded.images[len(train.files) :]]
    labels = [torch.tensor(part.labels, dtype=torch.int64) for part in parts]
    first, second = map(Split, images, labels)
    return first, second, decoded.notes


def _left_out(files: Sequence[str]) -> tuple[str, ...]:
    """The note on files that were not taken; none where there are none."""
    if not files:
        return ()
    known = listing.suffixes()
    kinds = Counter(
        "beside the class folders" if kind in known else f"'{kind}'" if kind else "without a suffix"
        for kind in map(listing.suffix, files)
    )
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    more = f", {len(kinds) - 5} more kinds" if len(kinds) > 5 else ""
    return (
        f"left out, since Pillow does not open them here or they lie outside the classes: {shown}"
        f"{more} (the first is '{min(files)}'). Convert what are images, for example to PNG.",
    )


def _class_names(part: Path) -> dict[str, str]:
    """The class folders of one half: their names, composed (NFC), to what the disk has, sorted by
    that."""
    with reading(part):
        found = [f.name for f in part.iterdir() if f.is_dir() and not f.name.startswith(".")]
    names: dict[str, str] = {}
    for name in sorted(found):
        composed = unicodedata.normalize("NFC", name)
        if composed in names:
            raise UserError(
                f"'{part}' has two folders named '{composed}', whose accents are encoded "
                "differently; make them one."
            )
        names[composed] = name
    if len(names) < 2:
        state = f"one class, '{next(iter(names))}'" if names else "no class folders"
        raise UserError(
            f"'{part}' has {state}; a labelled set needs two or more (use --dataset flat:PATH for "
            "images without labels)."
        )
    return names


def _same_classes(
    train: dict[str, str], test: dict[str, str], train_path: Path, test_path: Path
) -> None:
    for name in sorted({*train} ^ {*test}):
        has, lacks = (train_path, test_path) if name in train else (test_path, train_path)
        raise UserError(
            f"Class '{name}' is in '{has}' but not in '{lacks}'; both need the same classes."
        )
