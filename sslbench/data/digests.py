"""Digests of a data set's files: of their status, which is cheap, and of their bytes.

The bytes decide. They are read again only when the status of a file has changed: size, times,
and the inode, so that two files that change their names are noticed although both keep size and
time. Reading 10,000 files of 100 kB takes about a second where they are cached by the system.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sslbench.data import listing
from sslbench.data.registry import info
from sslbench.files import reading

Entries = Sequence[tuple[str, os.stat_result]]

_THREADS = 8  # hashing runs outside the interpreter's lock, and disks answer several at a time
# Text that gives images their labels.
_INDEXES = ("wnids.txt", "val_annotations.txt", "classes.json")


def stamp(entries: Entries) -> str:
    """Hex SHA-256 of every file's relative name and status."""
    return _sha256(
        f"{part}\0{s.st_size}\0{s.st_mtime_ns}\0{s.st_ctime_ns}\0{s.st_dev}\0{s.st_ino}"
        for part, s in entries
    )


def content(name: str, folder: Path, entries: Entries) -> str:
    """Hex SHA-256 of every file's relative name, size and, where pixels or labels come from it,
    bytes. Raises UserError: a file cannot be read."""
    known = listing.suffixes() | {listing.SHARD}
    # A reader of a plugin, or of what is in images, may take it from any file.
    entry = info(name)
    every = bool(entry.files) or entry.foreign or bool(entry.annotations - {"labels"})

    def line(item: tuple[str, os.stat_result]) -> str:
        part, status = item
        used = every or listing.suffix(part) in known or part.endswith(_INDEXES)
        return f"{part}\0{status.st_size}\0{_of_file(folder / part) if used else ''}"

    with ThreadPoolExecutor(_THREADS) as pool:
        return _sha256(pool.map(line, entries, chunksize=64))


def _of_file(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()
