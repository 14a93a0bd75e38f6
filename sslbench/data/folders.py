"""Data sets that are folders of image files."""

from __future__ import annotations

from pathlib import Path

import torch

from sslbench.data import listing
from sslbench.data.dataset import Split
from sslbench.data.photographs import decode
from sslbench.data.subsets import stratified
from sslbench.errors import UserError

FLAT_TEST_SHARE = 0.1


def class_folders(folder: Path, resolution: int) -> tuple[Split, Split, tuple[str, ...]]:
    """Train, test and class names of train/<class>/ and val/<class>/, or test/ without a val/.

    Classes are in the order of their sorted names, as in torchvision's ImageFolder.

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
                "(use --data flat for images without labels)."
            )
    classes = _classes(train)
    _same_classes(classes, _classes(test), train, test)
    return _labelled(train, classes, resolution), _labelled(test, classes, resolution), classes


def flat(folder: Path, resolution: int) -> tuple[Split, Split]:
    """All images below a folder, without labels: nine tenths to train on, a tenth to test.

    Raises:
        UserError: there are fewer than two images.
    """
    files = listing.images(folder)
    if len(files) < 2:
        raise UserError(f"'{folder}' holds {_count(files)}; use two or more.")
    test = stratified(None, len(files), max(1, round(FLAT_TEST_SHARE * len(files))), purpose="flat")
    images = decode(files, resolution)
    kept = torch.ones(len(files), dtype=torch.bool)
    kept[test] = False
    return Split(images[kept]), Split(images[test])


def tiny_imagenet(folder: Path, resolution: int) -> tuple[Split, Split, tuple[str, ...]]:
    """Train, val and wnids of train/<wnid>/images/ and val/val_annotations.txt.

    Raises:
        UserError: a file is missing or an annotation names an unknown class.
    """
    inner = listing.nested(folder)
    classes = tuple(sorted((inner / "wnids.txt").read_text().split()))
    train = _labelled(inner / "train", classes, resolution)
    notes = inner / "val" / "val_annotations.txt"
    labels, files = [], []
    for line in notes.read_text().splitlines():
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in classes:
            raise UserError(
                f"'{notes}' gives '{name}' the class '{wnid}', which wnids.txt lacks; "
                "the file is damaged, get it again."
            )
        files.append(inner / "val" / "images" / name)
        labels.append(classes.index(wnid))
    return train, Split(decode(files, resolution), torch.tensor(labels)), classes


def _labelled(part: Path, classes: tuple[str, ...], resolution: int) -> Split:
    files, labels = [], []
    for label, name in enumerate(classes):
        found = listing.images(part / name)
        if not found:
            raise UserError(
                f"'{part / name}' holds no images; add some, or remove the class from every split."
            )
        files += found
        labels += [label] * len(found)
    return Split(decode(files, resolution), torch.tensor(labels))


def _classes(part: Path) -> tuple[str, ...]:
    names = tuple(
        sorted(f.name for f in part.iterdir() if f.is_dir() and not f.name.startswith("."))
    )
    if len(names) < 2:
        found = f"one class, '{names[0]}'" if names else "no class folders"
        raise UserError(
            f"'{part}' has {found}; a labelled set needs two or more (use --data flat for "
            "images without labels)."
        )
    return names


def _same_classes(
    train: tuple[str, ...], test: tuple[str, ...], train_path: Path, test_path: Path
) -> None:
    for name in sorted({*train} ^ {*test}):
        has, lacks = (train_path, test_path) if name in train else (test_path, train_path)
        raise UserError(
            f"Class '{name}' is in '{has}' but not in '{lacks}'; both need the same classes."
        )


def _count(files: list[Path]) -> str:
    return "one image" if files else "no images"
