"""Tar shards in WebDataset's layout: where each image lies in them, found by reading their headers
once, so that any order can be read.

A sample is the members of one key, a member's path up to the first dot of its last part: an image,
and where the set has labels a .cls with the class's number; without it the folder that the image is
in is its class. Source: the WebDataset format, github.com/webdataset/webdataset.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.data import listing
from sslbench.data.folders import flat_halves
from sslbench.data.streaming.items import Items, Names
from sslbench.errors import UserError
from sslbench.files import exists, read_json, reading
from sslbench.typed import read_as, typed

CLASSES = "classes.json"  # the names of the classes, in label order
MANIFEST = "pack.json"  # of shards that `sslbench pack` writes


@dataclass(frozen=True)
class Manifest:
    """What `sslbench pack` says of the shards that it writes.

    Attributes:
        images, shards: how many there are.
        source: SHA-256 of the names and sizes of what they are made of, and of how.
    """

    images: int
    shards: int
    source: str


def read_manifest(path: Path) -> Manifest:
    """What stands in a folder of shards. Raises UserError: it is damaged."""
    return read_as(read_json(path), Manifest, where=path, remedy="delete the folder and pack again")


@dataclass(frozen=True)
class Member:
    """One image in a shard."""

    name: str
    label: int | str | None  # the number of its class, or the folder it is in
    shard: int
    start: int
    size: int


def labelled(folder: Path) -> tuple[Items, Items, tuple[str, ...]]:
    """Training and test images of shards whose names have `train`, and `val` or else `test`, and
    the names of the classes.

    Raises:
        UserError: a half is missing, an image has no label, or a shard is damaged.
    """
    paths = _shards(folder)
    halves = [[p for p in paths if "train" in p.name]]
    halves.append([p for p in paths if "val" in p.name and p not in halves[0]])
    if not halves[1]:
        halves[1] = [p for p in paths if "test" in p.name and p not in halves[0]]
    for half, word in zip(halves, ("train", "val or test"), strict=True):
        if not half:
            raise UserError(
                f"'{folder}' has no shard with {word} in its name; a labelled set needs both "
                "halves (use --dataset flat:PATH for images without labels)."
            )
    members = [_members(half) for half in halves]
    for found in members:
        for member in found:
            if member.label is None:
                raise UserError(
                    f"'{member.name}' in the shards of '{folder}' has neither a .cls with its "
                    "class's number nor a folder (use --dataset flat:PATH for images without "
                    "labels)."
                )
    classes = _classes(folder, [m.label for found in members for m in found])
    places = {name: i for i, name in enumerate(classes)}
    train, test = (
        _items(folder, half, found, [_number(m.label, places) for m in found])
        for half, found in zip(halves, members, strict=True)
    )
    return train, test, classes


def unlabelled(folder: Path) -> tuple[Items, Items]:
    """The images of all shards of a folder: nine tenths to train on, a tenth to test.

    Raises:
        UserError: there are fewer than two, or a shard is damaged.
    """
    paths = _shards(folder)
    members = sorted(_members(paths), key=lambda m: m.name)
    if len(members) < 2:
        raise UserError(f"The shards of '{folder}' hold {len(members)} images; use two or more.")
    by_name = {f"{m.shard} {m.name}": m for m in members}
    train, test = (
        _items(folder, paths, [by_name[name] for name in half.names], [])
        for half in flat_halves(folder, list(by_name))
    )
    return train, test


def _shards(folder: Path) -> list[Path]:
    """All of them, by name. Raises UserError: `sslbench pack` has not finished them."""
    with reading(folder):
        paths = sorted(folder.glob(f"*{listing.SHARD}"))
    if exists(folder / MANIFEST):
        wanted = read_manifest(folder / MANIFEST).shards
        if wanted != len(paths):
            raise UserError(
                f"'{folder}' has {len(paths)} of {wanted} shards; run the "
                "`sslbench pack` that writes them again, which goes on."
            )
    return paths


def _members(paths: Sequence[Path]) -> list[Member]:
    """Every image of some shards, with its label."""
    known = listing.suffixes()
    return [member for n, path in enumerate(paths) for member in _of_shard(path, n, known)]


def _of_shard(path: Path, number: int, known: frozenset[str]) -> Iterator[Member]:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with reading(path), tarfile.open(path, "r:") as tar:
            for info in tar:
                key, suffix = _key(info.name)
                if not info.isreg():
                    continue
                if suffix == ".cls":
                    labels[key] = _class_number(tar, info, path)
                elif listing.suffix(info.name) in known:
                    if key in images:
                        raise UserError(
                            f"'{path}' has two images of one name, '{key}'; name them apart."
                        )
                    images[key] = info
    except tarfile.TarError as error:
        raise UserError(
            f"'{path}' is not a whole tar file without compression ({error}); get it again."
        ) from None
    for key, info in images.items():
        folder = key.rpartition("/")[0].rpartition("/")[2]
        label = labels.get(key, folder or None)
        yield Member(info.name, label, number, info.offset_data, info.size)


def _key(name: str) -> tuple[str, str]:
    """The part that a sample's members share, and the rest, in lower case."""
    folder, slash, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{rest}".lower()


def _class_number(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> int:
    file = tar.extractfile(info)
    text = file.read(20).strip() if file is not None else b""
    if not text.isdigit():
        raise UserError(f"'{path}': '{info.name}' holds no class's number; mend the shard.")
    return int(text)


def _classes(folder: Path, labels: Sequence[int | str | None]) -> tuple[str, ...]:
    """In label order: of classes.json, else the folders of the images, else their numbers."""
    names = {label for label in labels if isinstance(label, str)}
    if names and len(names) < len({*labels}):
        raise UserError(f"'{folder}' has a .cls for some images and none for others; mend it.")
    highest = max((label for label in labels if isinstance(label, int)), default=-1)
    found: tuple[str, ...] = tuple(sorted(names)) or tuple(map(str, range(highest + 1)))
    if exists(folder / CLASSES):
        where = f"'{folder / CLASSES}'"
        found = typed(read_json(folder / CLASSES), tuple[str, ...], where=where)
    if missing := sorted(names - {*found}):
        raise UserError(f"'{folder / CLASSES}' lacks the class '{missing[0]}'; mend it.")
    if highest >= len(found):
        raise UserError(f"'{folder / CLASSES}' has {len(found)} classes, and a .cls has {highest}.")
    return found


def _number(label: int | str | None, places: dict[str, int]) -> int:
    assert label is not None
    return places[label] if isinstance(label, str) else label


def _items(
    folder: Path, shards: Sequence[Path], members: Sequence[Member], labels: Sequence[int]
) -> Items:
    """In the order of labels, then names: the same however they were divided among shards."""
    order = sorted(range(len(members)), key=lambda i: (labels[i] if labels else 0, members[i].name))
    places = [(m.shard, m.start, m.size) for m in (members[i] for i in order)]
    return Items(
        folder,
        Names.of([members[i].name for i in order]),
        np.array([labels[i] for i in order] if labels else [], dtype=np.int64),
        Names.of([path.name for path in shards]),
        np.array(places, dtype=np.int64).reshape(-1, 3),
    )
