"""A loaded data set: uint8 images with what is in them, on one device, and what is known of it."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sslbench.data.split import Split
from sslbench.data.streaming.images import NAMED, Streamed, sample
from sslbench.errors import UserError


@dataclass(frozen=True, eq=False)
class Raw:
    """A set as its reader gives it: square uint8 images of one resolution, and what is known.

    Attributes:
        classes: their names in label order, of images or of the objects in them.
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
        classes: class names in label order, of images or of the objects in them; may be empty.
        heldout: int64 positions in `train`, a tenth of it, for choosing probe settings.
        unlabelled: further images for self-supervised training (STL-10), or None.
        mean, std: of each channel of the training images, in [0, 1].
        fingerprint: hex SHA-256 of class list and content; equal data, equal fingerprint.
        resolution: side of the square images, in pixels.
        shared: how many test images are also among `pretraining`, pixel by pixel; None of streamed
            images, which are not compared.
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
    shared: int | None = 0

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

    def without_heldout(self) -> Dataset:
        """The same without the held-out images and their labels among the training ones."""
        keep = torch.ones(len(self.train), dtype=torch.bool)
        keep[self.heldout.cpu()] = False
        rest = keep.nonzero().flatten().to(self.train.images.device)
        return replace(self, train=self.train[rest], heldout=self.heldout[:0])

    def require_labels(self) -> Self:
        """The data set itself, for code that needs labels.

        Raises:
            UserError: the set has none.
        """
        if "labels" not in self.annotations:
            raise UserError(
                f"Data set '{self.name}' has no labels, and this needs them; evaluate on a "
                "labelled set instead, for example --dataset cifar10."
            )
        return self

    @property
    def annotations(self) -> frozenset[str]:
        """What is known of training and test images both, in the words of
        `sslbench.data.registry.ANNOTATIONS`."""
        return self.train.annotations & self.test.annotations

    def counts(self) -> dict[str, int]:
        """How many images there are, and classes that they are labelled with: 0 without labels."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "unlabelled": 0 if self.unlabelled is None else len(self.unlabelled),
            "classes": len(self.classes) if "labels" in self.annotations else 0,
        }

    @property
    def streamed(self) -> bool:
        """Whether the images are read while they are used."""
        return isinstance(self.train.images, Streamed)

    def summary(self) -> dict[str, Any]:
        """What run.json says of it: counts, and of streamed images how many mean and std are of,
        and which could not be read so far."""
        images = self.train.images
        if not isinstance(images, Streamed):
            return {"images": self.counts()}
        broken = images.broken()
        found = {"sampled": len(sample(len(images))), "broken": len(broken)}
        return {"images": self.counts() | found, "broken": broken[:NAMED]}

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
