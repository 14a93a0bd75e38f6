"""The packed copy of a data set: one safetensors file beside the images, stale when they change.

Its header carries what it was made of and the content hash, readable without torch or pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.data import digests, listing
from sslbench.data.registry import info
from sslbench.errors import DataWarning, UserError
from sslbench.files import reading, write_atomically
from sslbench.recipes.specs import ImageSet

FORMAT = 2  # raised when the packing changes: resizing, layout, hash
_HEADER_BYTES = 1 << 26


@dataclass(frozen=True)
class Header:
    """What a packed file says of itself.

    Attributes:
        source: digest of the files it was made of, with the packing's format.
        content: hex SHA-256 of class list, pixels and annotations.
        tensors: hex SHA-256 of all tensors of the file.
        classes: class names in label order.
        notes: what a user should know of the set, in sentences.
    """

    source: str
    content: str
    tensors: str
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """For safetensors, which keeps strings only. One entry: several are written in an order
        that changes from run to run."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        check = hashlib.sha256(text.encode()).hexdigest()
        return {"sslbench": json.dumps({"check": check, "header": text}, sort_keys=True)}


def resolution_of(spec: ImageSet) -> int:
    """The side that the images get: the spec's, else the set's own.

    Raises:
        UserError: neither is known.
    """
    resolution = spec.resolution or info(spec.name).resolution
    if resolution is None:
        raise UserError(
            f"Data set '{spec.name}' needs data.resolution, the side in pixels that its images "
            "are resized to, for example --set data.resolution=96."
        )
    return resolution


def source_digest(name: str, folder: Path) -> str:
    """Of the bytes of the files as they are now, which are read only where a file's status has
    changed since the last time, and of a plugin's reader. Raises UserError: one cannot be read."""
    code = f":{hashlib.sha256(info(name).reader_code()).hexdigest()}" if info(name).foreign else ""
    entries = listing.entries(name, folder)
    stamp = digests.stamp(entries)
    memos = [home / f"{name}.json" for home in homes(folder)]
    for memo in memos:
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, RecursionError):
            known = json.loads(memo.read_bytes())
            if known["stamp"] == stamp:
                return f"{FORMAT}:{known['content']}{code}"
    content = digests.content(name, folder, entries)
    for memo in memos:
        with contextlib.suppress(UserError):
            write_atomically(memo, json.dumps({"content": content, "stamp": stamp}) + "\n")
            break
    return f"{FORMAT}:{content}{code}"


def places(spec: ImageSet, folder: Path) -> list[Path]:
    """Where the packed file may lie: beside the images, or in the user's cache if that is
    read-only."""
    name = f"{spec.name}-{resolution_of(spec)}.safetensors"
    return [home / name for home in homes(folder)]


def homes(folder: Path) -> list[Path]:
    """Folders that what is made of a set may lie in, the best first."""
    given = os.environ.get("XDG_CACHE_HOME")
    where = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    found = [folder / listing.CACHE]
    with contextlib.suppress(RuntimeError):  # a user without a home
        base = Path(given) if given else Path.home() / ".cache"
        found.append(base / "sslbench" / where)
    return found


def cached_header(spec: ImageSet, *, root: Path) -> Header | None:
    """The header of a packed file that is up to date, or None. Raises UserError as `home`."""
    folder = listing.home(spec, root)
    with reading(folder):
        if not folder.is_dir() or listing.missing(spec.name, folder):
            return None
        source = source_digest(spec.name, folder)
        return next((header for _, header in valid(spec, folder, source)), None)


def valid(spec: ImageSet, folder: Path, source: str) -> Iterator[tuple[Path, Header]]:
    """The packed files that were made of `source`; a damaged one is named in a warning."""
    for path in places(spec, folder):
        try:
            header = read_header(path)
        except Damaged:
            warn_damaged(path)
            continue
        if header is not None and header.source == source:
            yield path, header


class Damaged(Exception):
    """A packed file that is not as it was written."""


def warn_damaged(path: Path) -> None:
    """Say that a packed file is not used."""
    sentence = f"The packed copy '{path}' is damaged; it is made again from the images."
    warnings.warn(DataWarning(sentence), stacklevel=3)


def tell(spec: ImageSet, folder: Path, notes: Sequence[str]) -> None:
    """Say what a user should know of the set."""
    for note in notes:
        sentence = f"Data set '{spec.name}' in '{folder}': {note}"
        warnings.warn(DataWarning(sentence), stacklevel=3)


def read_header(path: Path) -> Header | None:
    """Of a safetensors file that `sslbench.data.packed` wrote; None where there is none, or one of
    an earlier format.

    Raises:
        Damaged: it was cut or changed.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(min(length, _HEADER_BYTES))
        size = path.stat().st_size
    except OSError:
        return None
    try:
        return _parsed(text, size - 8 - length)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Damaged(path) from None


def _parsed(text: bytes, size: int) -> Header | None:
    """The header in that of a safetensors file whose tensors have `size` bytes. Raises any of
    Python's complaints about data of another shape."""
    data = json.loads(text)
    meta = data["__metadata__"]
    if max(t["data_offsets"][1] for k, t in data.items() if k != "__metadata__") != size:
        raise ValueError(size)
    if "sslbench" not in meta:
        return None
    own = json.loads(meta["sslbench"])
    if hashlib.sha256(own["header"].encode()).hexdigest() != own["check"]:
        raise ValueError(own["check"])
    fields = json.loads(own["header"])
    return Header(
        **{**fields, "classes": tuple(fields["classes"]), "notes": tuple(fields["notes"])}
    )
