"""Where images come from: downloads, and a reader for each layout on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import cifar, folders, listing
from sslbench.data.dataset import Raw, Split
from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from sslbench.memory import require_memory
from sslbench.recipes.specs import ImageSet


def obtain(spec: ImageSet, folder: Path) -> None:
    """See that the files are there: download what is missing of a set that can be downloaded.

    Raises:
        UserError: they are not there and cannot be got.
    """
    lacking = listing.missing(spec.name, folder)
    if DATASETS[spec.name].downloads and spec.path is None:
        if lacking:
            _download(spec.name, folder, lacking)
        return
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"Data path '{folder}' {kind}; give the folder of '{spec.name}'.")
    if lacking:
        raise UserError(
            f"Data path '{folder}' lacks '{lacking[0]}' of '{spec.name}'{_more(lacking)}; "
            "complete it, or leave data.path out to download the set."
        )


def read(name: str, folder: Path, resolution: int) -> Raw:
    """Decode a whole set at `resolution`.

    Raises:
        UserError: a file is damaged, or the folders do not make a data set.
    """
    if name in FILES:
        raw = FILES[name](folder, resolution)
    else:
        raw = _at(ARRAYS[name](folder), resolution)
    _check(raw, name, folder)
    return raw


def _at(raw: Raw, resolution: int) -> Raw:
    """A set of arrays at another side."""
    splits = [s for s in (raw.train, raw.test, raw.unlabelled) if s is not None]
    count = sum(map(len, splits))
    require_memory(3 * count * resolution**2, what=f"{count:,} images of {resolution:,} pixels",
                   remedy="lower data.resolution")  # fmt: skip
    train, test, *more = [replace(s, images=_resized(s.images, resolution)) for s in splits]
    return Raw(train, test, raw.classes, more[0] if more else None)


def _check(raw: Raw, name: str, folder: Path) -> None:
    """Refuse what no reader should have let pass: an empty half, labels that are no class."""
    for half, split in (("training", raw.train), ("test", raw.test)):
        labels = split.labels
        fits = labels is None or (
            len(labels) == len(split) > 0
            and int(labels.min()) >= 0
            and int(labels.max()) < len(raw.classes)
        )
        if len(split) == 0 or not fits:
            state = "labels that fit no class" if len(split) else "no images"
            raise UserError(
                f"The {half} half of '{name}' in '{folder}' has {state}; get its files again."
            )


def _more(lacking: list[str]) -> str:
    return f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""


def _download(name: str, folder: Path, lacking: list[str]) -> None:
    present = folder.is_dir() and any(f.name != listing.CACHE for f in folder.iterdir())
    state = f"is half there ('{lacking[0]}' is missing{_more(lacking)})" if present else "is absent"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        DOWNLOADS[name](folder)
    except Exception as error:  # torchvision passes on whatever the network raises
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if nothing came
        raise UserError(
            f"Data set '{name}' {state} in '{folder}' and could not be downloaded "
            f"({_first_line(error)}); "
            f"put its files there from {DATASETS[name].url}, or choose --dataset shapes."
        ) from error
    still = listing.missing(name, folder)
    if still:
        raise UserError(
            f"Data set '{name}' is still incomplete after the download: '{folder / still[0]}' is "
            f"missing{_more(still)}; delete '{folder}' and run again."
        )


def _torchvision(class_name: str, *splits: dict[str, Any]) -> Callable[[Path], None]:
    """A download by torchvision's class, which checks MD5s and unpacks."""

    def download(folder: Path) -> None:
        from torchvision import datasets

        for options in splits or ({},):
            getattr(datasets, class_name)(str(folder), download=True, **options)

    return download


def _tiny_imagenet_download(folder: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    url = DATASETS["tiny-imagenet"].url
    assert url is not None
    download_and_extract_archive(
        url, str(folder), md5="90528d7ca1a48142e341f4ef8d21d0de", remove_finished=True
    )


DOWNLOADS: dict[str, Callable[[Path], None]] = {
    "cifar10": _torchvision("CIFAR10"),
    "cifar100": _torchvision("CIFAR100"),
    "stl10": _torchvision("STL10"),
    "svhn": _torchvision("SVHN", {"split": "train"}, {"split": "test"}),
    "fashion-mnist": _torchvision("FashionMNIST"),
    "tiny-imagenet": _tiny_imagenet_download,
    "imagenette": _torchvision("Imagenette", {"split": "train", "size": "160px"}),
}


def _opened(class_name: str, folder: Path, **options: Any) -> Any:
    """torchvision's data set from the files there, its complaints as UserErrors."""
    from torchvision import datasets

    try:
        return getattr(datasets, class_name)(str(folder), download=False, **options)
    except Exception as error:  # damaged files raise nearly anything
        raise UserError(
            f"The files of {class_name} in '{folder}' are damaged or half-downloaded "
            f"({_first_line(error)}); delete them to have them downloaded again."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _cifar10(folder: Path) -> Raw:
    return Raw(*cifar.cifar10(folder))


def _cifar100(folder: Path) -> Raw:
    return Raw(*cifar.cifar100(folder))


def _stl10(folder: Path) -> Raw:
    names = ("train", "test", "unlabeled")
    train, test, extra = (_opened("STL10", folder, split=name) for name in names)
    unlabelled = Split(torch.from_numpy(extra.data))
    return Raw(_numpy_split(train), _numpy_split(test), tuple(train.classes), unlabelled)


def _numpy_split(opened: Any) -> Split:
    """Of a torchvision set that keeps numpy arrays."""
    return Split(torch.from_numpy(opened.data), torch.from_numpy(opened.labels).long())


def _svhn(folder: Path) -> Raw:
    train, test = (_opened("SVHN", folder, split=name) for name in ("train", "test"))
    return Raw(_numpy_split(train), _numpy_split(test), tuple("0123456789"))


def _fashion_mnist(folder: Path) -> Raw:
    opened = [_opened("FashionMNIST", folder, train=train) for train in (True, False)]
    train, test = (Split(d.data[:, None].expand(-1, 3, -1, -1), d.targets.long()) for d in opened)
    return Raw(train, test, tuple(opened[0].classes))


def _resized(images: Tensor, resolution: int) -> Tensor:
    """Square uint8 N×3×H×H at another side, antialiased bilinear."""
    if images.shape[-1] == resolution:
        return images
    size = (resolution, resolution)
    parts = [images[i : i + 1024].contiguous() for i in range(0, len(images), 1024)]
    return torch.cat([F.interpolate(p, size, mode="bilinear", antialias=True) for p in parts])


# Sets that come as arrays of one size, and sets of image files, which are decoded at a size.
ARRAYS: dict[str, Callable[[Path], Raw]] = {
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "stl10": _stl10,
    "svhn": _svhn,
    "fashion-mnist": _fashion_mnist,
}
FILES: dict[str, Callable[[Path, int], Raw]] = {
    "tiny-imagenet": folders.tiny_imagenet,
    "imagenette": folders.class_folders,
    "folder": folders.class_folders,
    "flat": folders.flat,
}
