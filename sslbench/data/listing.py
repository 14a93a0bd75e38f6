"""Which files a data set consists of; no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sslbench.data.registry import info
from sslbench.errors import UserError
from sslbench.files import reading
from sslbench.recipes.specs import ImageSet

SHARD = ".tar"
CACHE = ".sslbench"  # folder beside the images, never part of them
# What Pillow knows and cannot decode by itself, or only by running another program.
NO_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
CLUTTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})  # Windows leaves it in folders


def home(spec: ImageSet, root: Path) -> Path:
    """The folder of the data set.

    Raises:
        UserError: the name is unknown, or a path is needed and not given.
    """
    if info(spec.name).drawn:
        kind = info(spec.name).spec.__name__
        raise UserError(f"Data set '{spec.name}' is drawn, from no files; its data.kind is {kind}.")
    if spec.path is not None:
        return Path(spec.path).expanduser()
    if info(spec.name).needs_path:
        raise UserError(
            f"Data set '{spec.name}' needs data.path, the folder of your images: --dataset "
            f"{spec.name}:PATH."
        )
    return Path(root) / spec.name


def missing(name: str, folder: Path) -> list[str]:
    """What the folder lacks of a set, as relative paths; empty when complete."""
    files = [part for part in info(name).files if not (folder / part).is_file()]
    parts = info(name).parts
    inner = nested(folder) if parts else folder
    return files + [part for part in parts if not (inner / part).exists()]


def nested(folder: Path) -> Path:
    """The folder with train/ in it: this one, or the only one below it that has it."""
    if (folder / "train").is_dir() or not folder.is_dir():
        return folder
    inner = [f for f in sorted(folder.iterdir()) if (f / "train").is_dir()]
    return inner[0] if len(inner) == 1 else folder


def has_shards(folder: Path) -> bool:
    """Whether a folder holds tar shards, in place of images."""
    with reading(folder):
        return not (folder / "train").is_dir() and any(folder.glob(f"*{SHARD}"))


def entries(name: str, folder: Path) -> list[tuple[str, os.stat_result]]:
    """Relative path and status of every file of the set. Raises UserError as `walk`."""
    with reading(folder):
        if files := info(name).files:
            return [(part, (folder / part).stat()) for part in files]
        return [(part, entry.stat()) for part, entry in walk(folder)]


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(relative path, entry) of every file below a folder, sorted, hidden ones left out.

    Plain strings and directory entries: a set of a million files is listed at every start.

    Raises:
        UserError: a folder cannot be read; a link leads nowhere, or to a folder that it is in.
    """
    with reading(folder):
        return _walk(os.fspath(folder), "", (_identity(folder.stat()),))


def _walk(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with reading(Path(f"{folder}/{prefix}")):
        # At once for all, as most are files: a sentence for each would take longer than the look.
        kinds = [(e, e.is_dir(), e.is_file()) for e in _entries(f"{folder}/{prefix}")]
    for entry, is_folder, is_file in kinds:
        if is_folder:
            with reading(Path(entry.path)):
                own = _identity(entry.stat())
            if own in above:
                raise UserError(
                    f"'{entry.path}' links to a folder that it lies in; remove the link."
                )
            yield from _walk(folder, f"{prefix}{entry.name}/", (*above, own))
        elif is_file:
            yield prefix + entry.name, entry
        elif entry.is_symlink():
            raise UserError(
                f"'{entry.path}' links to a file that is not there; restore or remove it."
            )
        else:
            raise UserError(f"'{entry.path}' is neither file nor folder; remove it.")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder and is not hidden, sorted."""
    with reading(Path(folder)), os.scandir(folder) as found:
        return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def formats() -> tuple[str, ...]:
    """The formats that Pillow and its registered plugins decode."""
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.OPEN if name not in NO_PICTURES)


def suffixes() -> frozenset[str]:
    """The suffixes of these formats, in lower case."""
    from PIL import Image

    known = {*formats(), "MPO"}  # which is JPEG with more pictures behind
    return frozenset(
        s.lower() for s, name in Image.registered_extensions().items() if name in known
    )


def is_clutter(name: str) -> bool:
    """Whether a file is what a system leaves in a folder, of which nothing need be said."""
    return name.rpartition("/")[2].lower() in CLUTTER


def suffix(name: str) -> str:
    """Of a file's name, in lower case; "" without one."""
    base = name.rpartition("/")[2]
    dot = base.rfind(".")
    return base[dot:].lower() if dot > 0 else ""


def sort_out(folder: Path) -> tuple[list[str], list[str]]:
    """Every image file below a folder, by its suffix, and what else is there, each in sorted
    order, as paths relative to it. Raises UserError as `walk`."""
    known = suffixes()
    images: list[str] = []
    others: list[str] = []
    for part, _ in walk(folder):
        (images if suffix(part) in known else others).append(part)
    return images, [part for part in others if not is_clutter(part)]


def loose(folder: Path) -> list[str]:
    """The names of the files that lie directly in a folder of class folders."""
    return [e.name for e in _entries(os.fspath(folder)) if e.is_file() and not is_clutter(e.name)]
