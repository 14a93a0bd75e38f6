"""Packing: images decoded once to uint8 tensors, kept in one file that the next run maps."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslbench.data import cache, listing
from sslbench.data.cache import Header
from sslbench.data.dataset import Raw, Split, count_shared, image_hashes
from sslbench.data.sources import obtain, read
from sslbench.errors import DataWarning
from sslbench.files import reading
from sslbench.recipes.specs import ImageSet

_OF_CONTENT = ("train.images", "train.labels", "test.images", "test.labels", "unlabelled")
_OWN = ("folder", "flat")  # sets of the user's: a published one has the twins that it has


@dataclass(frozen=True, eq=False)
class Packed:
    """All of a data set at one resolution, before subsets.

    Attributes:
        content: hex SHA-256 of class list, pixels and labels.
    """

    train: Split
    test: Split
    unlabelled: Split | None
    classes: tuple[str, ...]
    content: str


def pack(spec: ImageSet, *, root: Path) -> Packed:
    """The whole set: from its packed file, or decoded (and downloaded) and packed.

    A packed file is used while the files are what it was made of, byte by byte; it is written
    whole or not at all, and made again when it is damaged. What a user should know of the set is
    said as `DataWarning`.

    Raises:
        UserError: as `sslbench.data.load`.
    """
    folder = listing.home(spec, root)
    resolution = cache.resolution_of(spec)
    with reading(folder):
        obtain(spec, folder)
        source = cache.source_digest(spec.name, folder)
        for path, header in cache.valid(spec, folder, source):
            if (tensors := _tensors_in(path, header)) is not None:
                cache.tell(spec, folder, header)
                return _packed(tensors, header)
        raw = _hashed(read(spec.name, folder, resolution))
        tensors = _tensors(raw)
        header = Header(
            source=source,
            content=_content(raw.classes, tensors),
            tensors=_sha256(tensors),
            classes=raw.classes,
            notes=(*raw.notes, *_shared_note(spec.name, raw)),
        )
        _keep(cache.places(spec, folder), tensors, header)
        cache.tell(spec, folder, header)
        return _packed(tensors, header)


def _tensors_in(path: Path, header: Header) -> dict[str, Tensor] | None:
    """What is in a packed file; None, and a warning, if that is not what was put there."""
    try:
        tensors = load_file(path)
        if _sha256(tensors) == header.tensors:
            return tensors
    except (OSError, SafetensorError):
        pass
    cache.warn_damaged(path)
    return None


def _hashed(raw: Raw) -> Raw:
    splits = [raw.train, raw.test, *([] if raw.unlabelled is None else [raw.unlabelled])]
    train, test, *more = [replace(s, hashes=image_hashes(s.images)) for s in splits]
    return replace(raw, train=train, test=test, unlabelled=more[0] if more else None)


def _shared_note(name: str, raw: Raw) -> tuple[str, ...]:
    count = count_shared(raw.test, raw.train, raw.unlabelled) if name in _OWN else 0
    if count == 0:
        return ()
    return (
        f"{count} of {len(raw.test)} test images are also training images, pixel by pixel; what "
        "is measured on them says little about new images, so give the test half its own.",
    )


def _tensors(raw: Raw) -> dict[str, Tensor]:
    extra = raw.unlabelled
    named = {
        "train.images": raw.train.images,
        "train.labels": raw.train.labels,
        "train.hashes": raw.train.hashes,
        "test.images": raw.test.images,
        "test.labels": raw.test.labels,
        "test.hashes": raw.test.hashes,
        "unlabelled": None if extra is None else extra.images,
        "unlabelled.hashes": None if extra is None else extra.hashes,
    }
    return {name: tensor.contiguous() for name, tensor in named.items() if tensor is not None}


def _packed(tensors: Mapping[str, Tensor], header: Header) -> Packed:
    train, test = (
        Split(
            tensors[f"{half}.images"],
            tensors.get(f"{half}.labels"),
            hashes=tensors[f"{half}.hashes"],
        )
        for half in ("train", "test")
    )
    extra = None
    if "unlabelled" in tensors:
        extra = Split(tensors["unlabelled"], hashes=tensors["unlabelled.hashes"])
    return Packed(train, test, extra, header.classes, header.content)


def _content(classes: tuple[str, ...], tensors: Mapping[str, Tensor]) -> str:
    """The fingerprint of the whole set: of what runs see, and nothing else."""
    return _sha256(tensors, _OF_CONTENT, start=json.dumps(list(classes)))


def _sha256(
    tensors: Mapping[str, Tensor], names: Iterable[str] | None = None, *, start: str = ""
) -> str:
    total = hashlib.sha256(start.encode())
    for name in sorted(tensors.keys() & set(tensors if names is None else names)):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.numpy().data)
    return total.hexdigest()


def _keep(places: list[Path], tensors: dict[str, Tensor], header: Header) -> None:
    """Write the packed file where that is possible, or warn that it is not."""
    reason = ""
    for path in places:
        try:
            _write(path, tensors, header)
            return
        except (OSError, SafetensorError) as error:
            reason = str(error)
    tried = "' nor in '".join(str(path.parent) for path in places)
    sentence = (
        f"The packed copy could not be kept in '{tried}' ({reason}); the images are decoded again "
        "at every start. Set XDG_CACHE_HOME to a folder that can be written."
    )
    warnings.warn(DataWarning(sentence), stacklevel=3)


def _write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """To a temporary file first, so that a reader sees all of it or nothing; each process to its
    own, as several may pack one set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, name, metadata=header.to_metadata())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
