"""Data sets that are folders of image files."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sslbench.data import listing
from sslbench.data.dataset import Raw
from sslbench.data.photographs import decode
from sslbench.data.split import Split
from sslbench.data.subsets import stratified
from sslbench.errors import UserError
from sslbench.files import read_text, reading

FLAT_TEST_SHARE = 0.1


@dataclass(eq=False)
class Half:
    """The image files of one half of a set.

    Attributes:
        names: their paths below `folder`.
        labels: one for each; empty without any.
        left_out: other files that lie there.
    """

    folder: Path
    names: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, label: int) -> None:
        """One more image, by its path below the folder."""
        self.names.append(name)
        self.labels.append(label)


@dataclass(frozen=True, eq=False)
class Listed:
    """A set of image files, none of which has been opened.

    Attributes:
        classes: their names in label order; none without labels.
        notes: what a user should know of it, in sentences.
    """

    train: Half
    test: Half
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def class_folders(folder: Path, resolution: int) -> Raw:
    """The set that `list_class_folders` finds, decoded. Raises UserError as it, and as `decode`."""
    return _decoded(list_class_folders(folder), resolution)


def flat(folder: Path, resolution: int) -> Raw:
    """The set that `list_flat` finds, decoded. Raises UserError as it, and as `decode`."""
    return _decoded(list_flat(folder), resolution)


def tiny_imagenet(folder: Path, resolution: int) -> Raw:
    """The set that `list_tiny_imagenet` finds, decoded. Raises UserError as it, and as `decode`."""
    return _decoded(list_tiny_imagenet(folder), resolution)


def list_class_folders(folder: Path) -> Listed:
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
    halves = _labelled(train, [*names.values()]), _labelled(test, [test_names[n] for n in names])
    left = [f"{half.folder.name}/{name}" for half in halves for name in half.left_out]
    return Listed(*halves, classes=tuple(names.values()), notes=_left_out(left))


def list_flat(folder: Path) -> Listed:
    """All images below a folder, without labels: nine tenths to train on, a tenth to test.

    Raises:
        UserError: there are fewer than two images.
    """
    names, left = listing.sort_out(folder)
    if len(names) < 2:
        raise UserError(
            f"'{folder}' holds {'one image' if names else 'no images'}; use two or more."
        )
    return Listed(*flat_halves(folder, names), notes=_left_out(left))


def flat_halves(folder: Path, names: Sequence[str]) -> tuple[Half, Half]:
    """Images without labels in training and test ones, of which there are a tenth."""
    test = stratified(None, len(names), max(1, round(FLAT_TEST_SHARE * len(names))), purpose="flat")
    chosen = {*test.tolist()}
    halves = Half(folder), Half(folder)
    for place, name in enumerate(names):
        halves[place in chosen].names.append(name)
    return halves


def list_tiny_imagenet(folder: Path) -> Listed:
    """train/<wnid>/images/ and val/val_annotations.txt, with the wnids as class names.

    Raises:
        UserError: a file is missing or an annotation names an unknown class.
    """
    inner = listing.nested(folder)
    classes = tuple(sorted(set(read_text(inner / "wnids.txt").split())))
    train = _labelled(inner / "train", classes)
    notes = inner / "val" / "val_annotations.txt"
    test = Half(inner / "val" / "images")
    places = {name: i for i, name in enumerate(classes)}
    for line in read_text(notes).splitlines():
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in places:
            raise UserError(
                f"'{notes}' gives '{name}' the class '{wnid}', which wnids.txt lacks; "
                "the file is damaged, get it again."
            )
        test.add(name, places[wnid])
    return Listed(train, test, classes)


def _labelled(folder: Path, classes: Sequence[str]) -> Half:
    """The images of one half, whose class folders are in label order. Raises UserError for a class
    without any."""
    half = Half(folder)
    for label, name in enumerate(classes):
        images, others = listing.sort_out(folder / name)
        if not images:
            raise UserError(
                f"'{folder / name}' holds no images; add some, or remove the class from every "
                "split."
            )
        for image in images:
            half.add(f"{name}/{image}", label)
        half.left_out += [f"{name}/{other}" for other in others]
    half.left_out += listing.loose(folder)
    return half


def _decoded(listed: Listed, resolution: int) -> Raw:
    """Both halves, decoded together so that they get one scale."""
    halves = listed.train, listed.test
    decoded = decode([h.folder / name for h in halves for name in h.names], resolution)
    count = len(listed.train.names)
    train, test = (
        Split(images, torch.tensor(half.labels, dtype=torch.int64) if half.labels else None)
        for half, images in zip(
            halves, (decoded.images[:count], decoded.images[count:]), strict=True
        )
    )
    return Raw(train, test, listed.classes, notes=(*listed.notes, *decoded.notes))


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
