"""A streamed set as a `Raw`, and what stands for all of its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sslbench.data import cache, listing
from sslbench.data.dataset import Raw
from sslbench.data.split import Split
from sslbench.data.streaming.choice import content_of
from sslbench.data.streaming.images import Broken, Streamed
from sslbench.data.streaming.index import Index, index_of
from sslbench.data.streaming.items import Items
from sslbench.files import reading
from sslbench.memory import require_memory
from sslbench.recipes.specs import ImageSet


def streamed(spec: ImageSet, *, root: Path) -> tuple[Raw, str]:
    """A set none of whose images is decoded, and its content's hash. What a user should know of it
    is said as `DataWarning`.

    Raises:
        UserError: the folders do not make a data set.
    """
    folder, side = listing.home(spec, root), cache.resolution_of(spec)
    with reading(folder):
        source = cache.source_digest(spec.name, folder)
        index = index_of(spec, folder, source)
    cache.tell(spec, folder, index.notes)
    return _raw(index, side, broken=spec.broken), content_of(spec, source)


def all_of(index: Index, side: int) -> Raw:
    """A set of encoded images, decoded to memory. Raises UserError: memory does not suffice."""
    count = len(index.train) + len(index.test)
    require_memory(3 * count * side**2, what=f"{count:,} images of {side:,} pixels",
                   remedy="lower data.resolution, or use --stream on")  # fmt: skip
    raw = _raw(index, side)
    train, test = (replace(half, images=half.images[:]) for half in (raw.train, raw.test))
    return replace(raw, train=train, test=test, notes=index.notes)


def _raw(index: Index, side: int, *, broken: Broken = "refuse") -> Raw:
    train, test = (
        Split(Streamed(items, side, broken=broken), _labels(items))
        for items in (index.train, index.test)
    )
    return Raw(train, test, index.classes)


def _labels(items: Items) -> Tensor | None:
    return torch.from_numpy(items.labels) if len(items.labels) else None
