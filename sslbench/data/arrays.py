"""Readers of the published sets that come as arrays of one size, which is resized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import cifar
from sslbench.data.dataset import Raw
from sslbench.data.split import Split
from sslbench.errors import UserError, first_line
from sslbench.memory import require_memory


def cifar10(folder: Path, resolution: int) -> Raw:
    """From `cifar-10-batches-py`."""
    return _at(Raw(*cifar.cifar10(folder)), resolution)


def cifar100(folder: Path, resolution: int) -> Raw:
    """From `cifar-100-python`, with the fine classes."""
    return _at(Raw(*cifar.cifar100(folder)), resolution)


def stl10(folder: Path, resolution: int) -> Raw:
    """Training, test and unlabelled images."""
    names = ("train", "test", "unlabeled")
    train, test, extra = (_opened("STL10", folder, split=name) for name in names)
    unlabelled = Split(torch.from_numpy(extra.data))
    raw = Raw(_numpy_split(train), _numpy_split(test), tuple(train.classes), unlabelled)
    return _at(raw, resolution)


def svhn(folder: Path, resolution: int) -> Raw:
    """Cropped digits, without the `extra` images."""
    train, test = (_opened("SVHN", folder, split=name) for name in ("train", "test"))
    return _at(Raw(_numpy_split(train), _numpy_split(test), tuple("0123456789")), resolution)


def fashion_mnist(folder: Path, resolution: int) -> Raw:
    """Grey images, three times in each."""
    opened = [_opened("FashionMNIST", folder, train=train) for train in (True, False)]
    train, test = (Split(d.data[:, None].expand(-1, 3, -1, -1), d.targets.long()) for d in opened)
    return _at(Raw(train, test, tuple(opened[0].classes)), resolution)


def _numpy_split(opened: Any) -> Split:
    """Of a torchvision set that keeps numpy arrays."""
    return Split(torch.from_numpy(opened.data), torch.from_numpy(opened.labels).long())


def _opened(class_name: str, folder: Path, **options: Any) -> Any:
    """torchvision's data set from the files there, its complaints as UserErrors."""
    from torchvision import datasets

    try:
        return getattr(datasets, class_name)(str(folder), download=False, **options)
    except Exception as error:  # damaged files raise nearly anything
        raise UserError(
            f"The files of {class_name} in '{folder}' are damaged or half-downloaded "
            f"({first_line(error)}); delete them to have them downloaded again."
        ) from None


def _at(raw: Raw, resolution: int) -> Raw:
    """A set of arrays at another side."""
    splits = [s for s in (raw.train, raw.test, raw.unlabelled) if s is not None]
    count = sum(map(len, splits))
    require_memory(3 * count * resolution**2, what=f"{count:,} images of {resolution:,} pixels",
                   remedy="lower data.resolution")  # fmt: skip
    train, test, *more = [replace(s, images=_resized(s.images, resolution)) for s in splits]
    return replace(raw, train=train, test=test, unlabelled=more[0] if more else None)


def _resized(images: Tensor, resolution: int) -> Tensor:
    """Square uint8 N×3×H×H at another side, antialiased bilinear."""
    if images.shape[-1] == resolution:
        return images
    size = (resolution, resolution)
    parts = [images[i : i + 1024].contiguous() for i in range(0, len(images), 1024)]
    return torch.cat([F.interpolate(p, size, mode="bilinear", antialias=True) for p in parts])
