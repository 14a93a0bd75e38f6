"""Packing: images decoded once to uint8 tensors, kept in one file that the next run maps."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslbench.data import cache, listing
from sslbench.data.cache import Header
from sslbench.data.dataset import Split
from sslbench.data.sources import Raw, obtain, read
from sslbench.recipes.specs import ImageSet


@dataclass(frozen=True, eq=False)
class Packed:
    """All of a data set at one resolution, before subsets.

    Attributes:
        unlabelled: uint8 N×3×H×W, or None.
        content: hex SHA-256 of class list, pixels and labels.
    """

    train: Split
    test: Split
    unlabelled: Tensor | None
    classes: tuple[str, ...]
    content: str


def pack(spec: ImageSet, *, root: Path) -> Packed:
    """The whole set: from its packed file, or decoded (and downloaded) and packed.

    A packed file is used while the names, sizes and times of the images are unchanged; it is
    written whole or not at all.

    Raises:
        UserError: as `sslbench.data.load`.
    """
    folder = listing.home(spec, root)
    resolution = cache.resolution_of(spec)
    obtain(spec, folder)
    source = cache.source_digest(spec.name, folder)
    for path, header in cache.valid(spec, folder, source):
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            return _packed(load_file(path), header)
    raw = read(spec.name, folder, resolution)
    tensors = _tensors(raw)
    header = Header(source, _content(raw.classes, tensors), raw.classes)
    for path in cache.places(spec, folder):
        with contextlib.suppress(OSError):
            _write(path, tensors, header)
            break
    return _packed(tensors, header)


def _tensors(raw: Raw) -> dict[str, Tensor]:
    named = {
        "train.images": raw.train.images,
        "train.labels": raw.train.labels,
        "test.images": raw.test.images,
        "test.labels": raw.test.labels,
        "unlabelled": raw.unlabelled,
    }
    return {name: tensor.contiguous() for name, tensor in named.items() if tensor is not None}


def _packed(tensors: dict[str, Tensor], header: Header) -> Packed:
    return Packed(
        train=Split(tensors["train.images"], tensors.get("train.labels")),
        test=Split(tensors["test.images"], tensors.get("test.labels")),
        unlabelled=tensors.get("unlabelled"),
        classes=header.classes,
        content=header.content,
    )


def _content(classes: tuple[str, ...], tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256(json.dumps(list(classes)).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.numpy().data)
    return total.hexdigest()


def _write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """To a temporary file first, so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, name, metadata=header.to_metadata())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
