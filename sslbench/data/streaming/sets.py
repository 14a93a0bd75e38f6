"""A streamed set as a `Raw`, and what stands for all of its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslbench.data import cache, listing
from sslbench.data.dataset import Raw
from sslbench.data.split import Split
from sslbench.data.streaming.choice import streamed_content
from sslbench.data.streaming.images import Streamed
from sslbench.data.streaming.index import index_of
from sslbench.data.streaming.items import Items
from sslbench.recipes.specs import ImageSet

SAMPLE = 2000  # images of which channel statistics are taken


def streamed(spec: ImageSet, *, root: Path) -> tuple[Raw, str]:
    """A set none of whose images is decoded, and its content's hash. What a user should know of it
    is said as `DataWarning`.

    Raises:
        UserError: the folders do not make a data set.
    """
    folder, side = listing.home(spec, root), cache.resolution_of(spec)
    own = streamed_content(spec, root=root)
    index = index_of(spec, folder)
    cache.tell(spec, folder, index.notes)
    train, test = (
        Split(Streamed(items, side, broken=spec.broken), _labels(items))
        for items in (index.train, index.test)
    )
    return Raw(train, test, index.classes), own


def _labels(items: Items) -> Tensor | None:
    return torch.from_numpy(items.labels) if len(items.labels) else None


def sample(count: int) -> Tensor:
    """The positions of at most `SAMPLE` of so many images, evenly over the set: what stands for all
    of them."""
    places = np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(np.int64)
    return torch.from_numpy(np.unique(places))
