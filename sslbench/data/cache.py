"""The packed copy of a data set: one safetensors file beside the images, stale when they change.

Its header carries what it was made of and the content hash, readable without torch or pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sslbench.data import listing
from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from sslbench.recipes.specs import ImageSet

FORMAT = 1  # raised when the packing changes: resizing, layout, hash


@dataclass(frozen=True)
class Header:
    """What a packed file says of itself.

    Attributes:
        source: digest of the files it was made of, with the packing's format.
        content: hex SHA-256 of class list and tensors.
        classes: class names in label order.
    """

    source: str
    content: str
    classes: tuple[str, ...]

    def to_metadata(self) -> dict[str, str]:
        """For safetensors, which keeps strings only."""
        classes = json.dumps(list(self.classes))
        return {"source": self.source, "content": self.content, "classes": classes}


def resolution_of(spec: ImageSet) -> int:
    """The side that the images get: the spec's, else the set's own.

    Raises:
        UserError: neither is known.
    """
    resolution = spec.resolution or DATASETS[spec.name].resolution
    if resolution is None:
        raise UserError(
            f"Data set '{spec.name}' needs data.resolution, the side in pixels that its images "
            "are resized to, for example 96."
        )
    return resolution


def source_digest(name: str, folder: Path) -> str:
    """Of the files as they are now."""
    return f"{FORMAT}:{listing.digest(name, folder)}"


def places(spec: ImageSet, folder: Path) -> list[Path]:
    """Where the packed file may lie: beside the images, or in the user's cache if that is
    read-only."""
    name = f"{spec.name}-{resolution_of(spec)}.safetensors"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return [folder / listing.CACHE / name, base / "sslbench" / where / name]


def cached_header(spec: ImageSet, *, root: Path) -> Header | None:
    """The header of a packed file that is up to date, or None. Raises UserError as `home`."""
    folder = listing.home(spec, root)
    if not folder.is_dir() or listing.missing(spec.name, folder):
        return None
    source = source_digest(spec.name, folder)
    return next((header for _, header in valid(spec, folder, source)), None)


def valid(spec: ImageSet, folder: Path, source: str) -> Iterator[tuple[Path, Header]]:
    """The packed files that were made of `source`."""
    for path in places(spec, folder):
        header = read_header(path)
        if header is not None and header.source == source:
            yield path, header


def read_header(path: Path) -> Header | None:
    """Of a safetensors file that `sslbench.data.packed` wrote; None if it is not one."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            data = json.loads(file.read(min(length, 1 << 24)))
        meta = data["__metadata__"]
        end = max(t["data_offsets"][1] for k, t in data.items() if k != "__metadata__")
        if path.stat().st_size != 8 + length + end:
            return None
        return Header(meta["source"], meta["content"], tuple(json.loads(meta["classes"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None
