"""What gets a published set from its authors: each a function of the folder to fill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslbench.data.registry import DATASETS


def _torchvision(class_name: str, *splits: dict[str, Any]) -> Callable[[Path], None]:
    """A download by torchvision's class, which checks MD5s and unpacks."""

    def download(folder: Path) -> None:
        from torchvision import datasets

        for options in splits or ({},):
            getattr(datasets, class_name)(str(folder), download=True, **options)

    return download


def tiny_imagenet(folder: Path) -> None:
    """Stanford's archive, which torchvision has no class for."""
    from torchvision.datasets.utils import download_and_extract_archive

    url = DATASETS["tiny-imagenet"].url
    assert url is not None
    download_and_extract_archive(
        url, str(folder), md5="90528d7ca1a48142e341f4ef8d21d0de", remove_finished=True
    )


cifar10 = _torchvision("CIFAR10")
cifar100 = _torchvision("CIFAR100")
stl10 = _torchvision("STL10")
svhn = _torchvision("SVHN", {"split": "train"}, {"split": "test"})
fashion_mnist = _torchvision("FashionMNIST")
imagenette = _torchvision("Imagenette", {"split": "train", "size": "160px"})
