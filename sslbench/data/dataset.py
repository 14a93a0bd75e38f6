"""A loaded data set: uint8 images with labels, on one device, and what is known about it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from sslbench.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and, where known, what is in them.

    Attributes:
        images: uint8 N×3×H×W.
        labels: int64 N, positions in `Dataset.classes`; None without labels.
        boxes: float32 N×4, the visible object as (left, top, right, bottom) in pixels; the right
            and bottom edges lie one past the last pixel.
        masks: bool N×H×W, true on the object.
        depth: float32 N×H×W, distance from the camera, in half image sides.
        hashes: int64 N, of each image's pixels; None where no two images can be the same.
    """

    images: Tensor
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    depth: Tensor | None = None
    hashes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor | slice) -> Split:
        """The images at some positions, with all that belongs to them."""
        return self._each(lambda x: x[indices])

    def to(self, device: str | torch.device) -> Split:
        """A copy on another device."""
        return self._each(lambda x: x.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Split:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in values.items() if v is not None})


@dataclass(frozen=True, eq=False)
class Raw:
    """A decoded set: uint8 images of one resolution, labels where known.

    Attributes:
        notes: what a user should know of it, in sentences.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    unlabelled: Split | None = None
    notes: tuple[str, ...] = ()


def image_hashes(images: Tensor) -> Tensor:
    """int64 N, of the pixels of uint8 N×3×H×W on the CPU: equal images, equal hash."""
    rows = images.contiguous().numpy()
    found = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return torch.from_numpy(np.frombuffer(found, dtype=np.int64).copy())


def count_shared(test: Split, *training: Split | None) -> int:
    """How many test images are, pixel by pixel, also among the training images."""
    seen = [split.hashes for split in training if split is not None and split.hashes is not None]
    if test.hashes is None or not seen:
        return 0
    return int(torch.isin(test.hashes, torch.cat(seen)).sum())


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a run trains on and is judged on.

    Attributes:
        name: as in `sslbench.data.registry.DATASETS`.
        classes: class names in label order; empty without labels.
        heldout: int64 positions in `train`, a tenth of it, for choosing probe settings.
        unlabelled: further images for self-supervised training (STL-10), or None.
        mean, std: of each channel of the training images, in [0, 1].
        fingerprint: hex SHA-256 of class list and content; equal data, equal fingerprint.
        resolution: side of the square images, in pixels.
        shared: how many test images are also among `pretraining`, pixel by pixel.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    heldout: Tensor
    unlabelled: Split | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str
    resolution: int
    shared: int = 0

    @property
    def num_pretraining(self) -> int:
        """How many images a self-supervised run may see."""
        return len(self.train) + (0 if self.unlabelled is None else len(self.unlabelled))

    @functools.cached_property
    def pretraining(self) -> Tensor:
        """All images that a self-supervised run may see, uint8 N×3×H×W: train, then unlabelled.
        With unlabelled ones it is a copy, made once."""
        if self.unlabelled is None:
            return self.train.images
        return torch.cat([self.train.images, self.unlabelled.images])

    @property
    def annotations(self) -> frozenset[str]:
        """What train and test images both come with: names of `Split`'s fields."""
        names = {f.name for f in fields(Split)} - {"images", "hashes"}
        both = (self.train, self.test)
        return frozenset(n for n in names if all(getattr(s, n) is not None for s in both))

    def require_labels(self) -> Self:
        """The data set itself, for code that needs labels.

        Raises:
            UserError: the set has none.
        """
        if self.train.labels is None or self.test.labels is None:
            raise UserError(
                f"Data set '{self.name}' has no labels, and this needs them; evaluate on a "
                "labelled set instead, for example --dataset cifar10."
            )
        return self

    def counts(self) -> dict[str, int]:
        """How many images there are, and classes; no classes, no labels."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "unlabelled": 0 if self.unlabelled is None else len(self.unlabelled),
            "classes": len(self.classes),
        }

    def to(self, device: str | torch.device) -> Dataset:
        """A copy on another device."""
        extra = None if self.unlabelled is None else self.unlabelled.to(device)
        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            heldout=self.heldout.to(device),
            unlabelled=extra,
        )
