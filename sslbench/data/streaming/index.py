"""The index of a streamed set: which images it has and where they lie, kept beside them.

It holds while the files have the same names and bytes, as a packed copy does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.data import listing
from sslbench.data.folders import Listed
from sslbench.data.registry import function, info
from sslbench.data.streaming import shards
from sslbench.data.streaming.choice import FORMAT, index_places
from sslbench.data.streaming.items import Items
from sslbench.errors import DataWarning
from sslbench.recipes.specs import ImageSet

_HALVES = ("train", "test")


@dataclass(frozen=True, eq=False)
class Index:
    """A set of encoded images.

    Attributes:
        classes: their names in label order; none without labels.
        notes: what a user should know of it, in sentences.
    """

    train: Items
    test: Items
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def index_of(spec: ImageSet, folder: Path, source: str) -> Index:
    """Of the files as they are now: read where it is kept, else made, and kept.

    Args:
        source: their digest.
    Raises:
        UserError: the folders do not make a data set.
    """
    source = f"{FORMAT}:{source}"
    paths = index_places(spec, folder)
    for path in paths:
        if (found := _read(path, source, folder)) is not None:
            return found
    index = read_index(spec.name, folder)
    keep_first(paths, _bytes(index, source, folder))
    return index


def read_index(name: str, folder: Path) -> Index:
    """Which images a folder, or the shards in it, have. Raises UserError as `index_of`."""
    entry = info(name)
    if listing.has_shards(folder):
        if not entry.labelled:
            return Index(*shards.unlabelled(folder))
        return Index(*shards.labelled(folder))
    assert entry.lister is not None
    listed: Listed = function(entry.lister)(folder)
    train, test = (
        Items.of_files(half.folder, half.names, half.labels) for half in (listed.train, listed.test)
    )
    return Index(train, test, listed.classes, listed.notes)


def keep_first(paths: list[Path], data: bytes) -> None:
    """Write a file whole or not at all to the first of some places that can be written, each
    process to its own temporary one; a warning where none can."""
    reason = ""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            return
        except OSError as error:
            reason = error.strerror or str(error)
    sentence = (
        f"What is known of the images could not be kept in '{paths[0].parent}' ({reason}); it is "
        "found again at every start. Set XDG_CACHE_HOME to a folder that can be written."
    )
    warnings.warn(DataWarning(sentence), stacklevel=3)


def _bytes(index: Index, source: str, folder: Path) -> bytes:
    header = {
        "source": source,
        "classes": index.classes,
        "notes": index.notes,
        "folders": [os.path.relpath(half.folder, folder) for half in (index.train, index.test)],
    }
    arrays: dict[str, np.ndarray] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for name, half in zip(_HALVES, (index.train, index.test), strict=True):
        arrays |= half.arrays(name)
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _read(path: Path, source: str, folder: Path) -> Index | None:
    """A kept index; None where there is none, it is damaged, or the files have changed."""
    with contextlib.suppress(
        OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError
    ):
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            if header["source"] != source:
                return None
            arrays: Mapping[str, np.ndarray] = {name: file[name] for name in file.files}
        train, test = (
            Items.from_arrays(arrays, name, folder / part)
            for name, part in zip(_HALVES, header["folders"], strict=True)
        )
        return Index(train, test, tuple(header["classes"]), tuple(header["notes"]))
    return None
