"""`pack`: a folder of images as tar shards in WebDataset's layout, whole or gone on with."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sslbench.data import listing
from sslbench.data.folders import Half, list_class_folders, list_flat
from sslbench.data.streaming.shards import CLASSES, MANIFEST, Manifest, read_manifest
from sslbench.errors import UserError
from sslbench.files import exists, read_bytes, reading, replacing, write_atomically
from sslbench.streams import permutation, stream_key

LIMIT = 1 << 31  # bytes of one image that are read
Progress = Callable[[int, int], None]  # shards done, and all


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes:
        shards, images: how many there are.
        written: shards that this call wrote; the others were there.
    """

    shards: int
    images: int
    written: int


@dataclass(frozen=True)
class _Shard:
    name: str
    half: Half
    rows: tuple[int, ...]


def write_shards(
    folder: Path, out: Path, *, shard_bytes: int, progress: Progress | None = None
) -> Packed:
    """Write train/ and val/ of class folders, or all images of a folder without train/, as shards.

    The images are copied as they are, in a fixed random order, since other programs read shards
    from one end to the other. A shard is written whole or not at all, and one that is there is
    kept.

    Args:
        shard_bytes: about how large a shard is.
        progress: told after each shard.
    Raises:
        UserError: the folder is no set, `out` holds another one, or nothing can be written.
    """
    labelled = (listing.nested(folder) / "train").is_dir()
    listed = (list_class_folders if labelled else list_flat)(folder)
    if labelled:
        halves = {"train": listed.train, "val": listed.test}
    else:
        names = sorted([*listed.train.names, *listed.test.names])
        halves = {"images": Half(folder, names)}
    shards: list[_Shard] = []
    digest = hashlib.sha256(json.dumps([shard_bytes, listed.classes]).encode())
    for name, half in halves.items():
        sizes = _sizes(half)
        for row, size in enumerate(sizes):
            digest.update(f"{name}/{half.names[row]}\0{size}\0".encode(errors="surrogateescape"))
        shards += _planned(name, half, sizes, shard_bytes)
    images = sum(len(half.names) for half in halves.values())
    _begin(out, Manifest(images, len(shards), digest.hexdigest()), listed.classes)
    written = 0
    for done, shard in enumerate(shards, 1):
        path = out / shard.name
        if not exists(path):
            _write(path, shard)
            written += 1
        if progress is not None:
            progress(done, len(shards))
    return Packed(len(shards), images, written)


def _sizes(half: Half) -> list[int]:
    with reading(half.folder):
        return [(half.folder / name).stat().st_size for name in half.names]


def _planned(name: str, half: Half, sizes: Sequence[int], shard_bytes: int) -> list[_Shard]:
    """Which images each shard holds; one more is begun where the next image would be too much."""
    order = permutation(stream_key(0, "shards", len(sizes)), len(sizes)).tolist()
    groups: list[list[int]] = []
    room = 0
    for row in order:
        if room < sizes[row] or not groups:
            groups.append([])
            room = shard_bytes
        groups[-1].append(row)
        room -= sizes[row]
    return [_Shard(f"{name}-{i:06}.tar", half, tuple(rows)) for i, rows in enumerate(groups)]


def _begin(out: Path, manifest: Manifest, classes: tuple[str, ...]) -> None:
    """What says which set the folder is to hold. Raises UserError: it holds another."""
    path = out / MANIFEST
    if exists(path):
        if read_manifest(path) != manifest:
            raise UserError(
                f"'{out}' holds shards of other images, or of another size; choose another --out, "
                "or delete it."
            )
        return
    if exists(out) and any(out.glob("*.tar")):
        raise UserError(f"'{out}' holds shards already; choose another --out.")
    if classes:
        write_atomically(out / CLASSES, json.dumps(classes, ensure_ascii=False) + "\n")
    write_atomically(path, json.dumps(asdict(manifest)) + "\n")


def _write(path: Path, shard: _Shard) -> None:
    half = shard.half
    with replacing(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for row in shard.rows:
            name = half.names[row]
            folder, _, base = name.rpartition("/")
            stem, _, suffix = base.rpartition(".")
            # The number keeps apart names that differ in their suffix alone, and dots would end
            # the key.
            key = f"{folder + '/' if folder else ''}{row:08}-{stem.replace('.', '_')}"
            _add(tar, f"{key}.{suffix}", read_bytes(half.folder / name, limit=LIMIT))
            if half.labels:
                _add(tar, f"{key}.cls", str(half.labels[row]).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
