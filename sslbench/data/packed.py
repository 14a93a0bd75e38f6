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
from sslbench.data.dataset import Raw, count_shared, image_hashes
from sslbench.data.registry import info
from sslbench.data.sources import obtain, read
from sslbench.data.split import split_of
from sslbench.errors import DataWarning
from sslbench.files import reading
from sslbench.recipes.specs import ImageSet

_HALVES = ("train", "test", "unlabelled")


@dataclass(frozen=True, eq=False)
class Packed:
    """All of a data set at one resolution, before subsets.

    Attributes:
        content: hex SHA-256 of class list, pixels and annotations.
    """

    raw: Raw
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
                cache.tell(spec, folder, header.notes)
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
        cache.tell(spec, folder, header.notes)
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
    count = count_shared(raw.test, raw.train, raw.unlabelled)
    if count == 0 or info(name).download is not None:  # a published set has the twins that it has
        return ()
    return (
        f"{count} of {len(raw.test)} test images are also training images, pixel by pixel; what "
        "is measured on them says little about new images, so give the test half its own.",
    )


def _tensors(raw: Raw) -> dict[str, Tensor]:
    """Every field of every half by its name; the unlabelled images go by their half's alone."""
    splits = zip(_HALVES, (raw.train, raw.test, raw.unlabelled), strict=True)
    return {
        _key(half, name): tensor.contiguous()
        for half, split in splits
        if split is not None
        for name, tensor in split.tensors().items()
    }


def _key(half: str, name: str) -> str:
    return half if (half, name) == ("unlabelled", "images") else f"{half}.{name}"


def _packed(tensors: Mapping[str, Tensor], header: Header) -> Packed:
    halves: dict[str, dict[str, Tensor]] = {half: {} for half in _HALVES}
    for key, tensor in tensors.items():
        half, _, name = key.partition(".")
        halves[half][name or "images"] = tensor
    train, test, extra = (split_of(found) if found else None for found in halves.values())
    assert train is not None and test is not None
    return Packed(Raw(train, test, header.classes, extra), header.content)


def _content(classes: tuple[str, ...], tensors: Mapping[str, Tensor]) -> str:
    """The fingerprint of the whole set: of what runs see, and nothing else."""
    seen = [name for name in tensors if not name.endswith(".hashes")]
    return _sha256(tensors, seen, start=json.dumps(list(classes)))


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


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each with memory of its own, as the file asks for: a reader may give halves of
    one."""
    seen: set[int] = set()
    found = {}
    for name, x in tensors.items():
        place = x.untyped_storage().data_ptr()
        found[name] = x.clone() if place in seen else x
        seen.add(place)
    return found


def _write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """To a temporary file first, so that a reader sees all of it or nothing; each process to its
    own, as several may pack one set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(_apart(tensors), name, metadata=header.to_metadata())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
