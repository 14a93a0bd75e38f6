"""Which files a data set consists of, and a digest of their names, sizes and times; no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sslbench.data.registry import DATASETS
from sslbench.errors import UserError, did_you_mean
from sslbench.recipes.specs import ImageSet

CACHE = ".sslbench"  # folder beside the images, never part of them
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff",
                            ".ppm", ".pgm"})  # fmt: skip

# What torchvision unpacks, below the data set's own folder.
FIXED: dict[str, tuple[str, ...]] = {
    "cifar10": (
        *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
        "cifar-10-batches-py/test_batch",
        "cifar-10-batches-py/batches.meta",
    ),
    "cifar100": tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
    "stl10": tuple(
        f"stl10_binary/{name}"
        for name in (
            "train_X.bin",
            "train_y.bin",
            "test_X.bin",
            "test_y.bin",
            "unlabeled_X.bin",
            "class_names.txt",
        )
    ),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
    "fashion-mnist": tuple(
        f"FashionMNIST/raw/{half}-{kind}-ubyte"
        for half in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ),
}


def home(spec: ImageSet, root: Path) -> Path:
    """The folder of the data set.

    Raises:
        UserError: the name is unknown, or a path is needed and not given.
    """
    if spec.name not in DATASETS or spec.name == "shapes":
        names = [n for n in DATASETS if n != "shapes"]
        raise UserError(f"No data set '{spec.name}'{did_you_mean(spec.name, names)}")
    if spec.path is not None:
        return Path(spec.path).expanduser()
    if not DATASETS[spec.name].downloads:
        raise UserError(f"Data set '{spec.name}' needs data.path, the folder of your images.")
    return Path(root) / spec.name


def missing(name: str, folder: Path) -> list[str]:
    """What the folder lacks of a downloadable set, as relative paths; empty when complete."""
    if name in FIXED:
        return [part for part in FIXED[name] if not (folder / part).is_file()]
    if name not in ("tiny-imagenet", "imagenette"):
        return []
    inner = nested(folder)
    wanted = ("train", "val", "wnids.txt", "val/val_annotations.txt")
    parts = wanted if name == "tiny-imagenet" else wanted[:2]
    return [part for part in parts if not (inner / part).exists()]


def nested(folder: Path) -> Path:
    """The folder with train/ in it: this one, or the only one below it that has it."""
    if (folder / "train").is_dir() or not folder.is_dir():
        return folder
    inner = [f for f in sorted(folder.iterdir()) if (f / "train").is_dir()]
    return inner[0] if len(inner) == 1 else folder


def digest(name: str, folder: Path) -> str:
    """Hex SHA-256 of every file's relative name, size and time of change."""
    if name in FIXED:
        files = [(part, (folder / part).stat()) for part in FIXED[name]]
    else:
        files = [(part, entry.stat()) for part, entry in walk(folder)]
    lines = sorted(f"{part}\0{status.st_size}\0{status.st_mtime_ns}" for part, status in files)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def walk(folder: Path, *, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(relative path, entry) of every file below a folder, sorted, hidden ones left out.

    Plain strings and directory entries: a set of a million files is listed at every start.

    Raises:
        UserError: a link leads nowhere.
    """
    with os.scandir(folder / prefix) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk(folder, prefix=f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield prefix + entry.name, entry
        else:
            raise UserError(
                f"'{entry.path}' links to a file that is not there; restore or remove it."
            )


def images(folder: Path) -> list[Path]:
    """Every image file below a folder, by its suffix, in sorted order."""
    names = (part for part, _ in walk(folder))
    return [folder / name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
