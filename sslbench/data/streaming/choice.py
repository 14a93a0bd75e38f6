"""Which sets are streamed, and what a streamed set's fingerprint is of. No torch where that is
known already."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sslbench.data import cache, listing
from sslbench.data.registry import info
from sslbench.errors import UserError
from sslbench.files import reading
from sslbench.memory import available_memory
from sslbench.recipes.specs import ImageSet

FORMAT = 1  # raised when the decoding or the order of streamed images changes
_SHARE = 0.5  # of the free memory: the networks need some too


def streams(spec: ImageSet, *, root: Path) -> bool:
    """Whether the images are read while they are used, and not kept in memory.

    Where it is not said, a set is used as it was the last time: packed or streamed. The first time
    a folder of files is streamed where all images would take more than half of the memory that is
    free, on the GPU or here, and shards always.

    Raises:
        UserError: `on` for a set that cannot be, or its folder cannot be read.
    """
    able = info(spec.name).lister is not None
    if spec.stream and not able:
        raise UserError(
            f"Data set '{spec.name}' is no folder of images and cannot be streamed; leave out "
            "--stream on."
        )
    if spec.stream is not None or not able:
        return bool(spec.stream)
    folder = listing.home(spec, root)
    with reading(folder):
        return folder.is_dir() and _wants(spec, folder)


def index_places(spec: ImageSet, folder: Path) -> list[Path]:
    """Where the index of a streamed set may lie."""
    return [home / f"{spec.name}.index.npz" for home in cache.homes(folder)]


def streamed_content(spec: ImageSet, *, root: Path) -> str:
    """Hex SHA-256 of the bytes of the files with their names, and of what is made of them: none of
    the images need be decoded for it. Raises UserError: they cannot be read."""
    folder = listing.home(spec, root)
    with reading(folder):
        return content_of(spec, cache.source_digest(spec.name, folder))


def content_of(spec: ImageSet, source: str) -> str:
    """The same of the digest of the files."""
    text = f"streamed:{FORMAT}:{source}:{cache.resolution_of(spec)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _wants(spec: ImageSet, folder: Path) -> bool:
    packed = any(path.is_file() for path in cache.places(spec, folder))
    streamed = any(path.is_file() for path in index_places(spec, folder))
    if packed != streamed:
        return streamed
    if listing.has_shards(folder):
        return True
    needed = 3 * _image_count(spec, folder) * cache.resolution_of(spec) ** 2
    from sslbench import distributed

    return distributed.agree(needed > _SHARE * _free())


def _free() -> float:
    """Bytes that a whole set may lie in: here, and on the GPU where there is one."""
    import torch

    found = [available_memory()]
    if torch.cuda.is_available():
        found.append(torch.cuda.mem_get_info()[0])
    return min((size for size in found if size is not None), default=float("inf"))


def _image_count(spec: ImageSet, folder: Path) -> int:
    """About how many images the set has, by its files' suffixes."""
    known = listing.suffixes()
    return sum(listing.suffix(name) in known for name, _ in listing.entries(spec.name, folder))
