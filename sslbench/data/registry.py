"""The data sets by name, for lists and help texts; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.errors import UserError, did_you_mean
from sslbench.recipes.specs import Data, Shapes


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is worth knowing about a data set before it is loaded.

    Attributes:
        num_classes: None where the folders decide, or without labels.
        resolution: native side in pixels, or the one used when a recipe names none; None where
            the images' sizes vary and the recipe must name one.
        annotations: what its images come with, as `Dataset.annotations` of the loaded set.
        licence: as its authors state it; None where they state none.
    """

    summary: str
    num_classes: int | None
    resolution: int | None
    num_train: int | None = None
    num_test: int | None = None
    licence: str | None = None
    url: str | None = None
    annotations: frozenset[str] = frozenset({"labels"})
    downloads: bool = False

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return "labels" in self.annotations


_KRIZHEVSKY = "https://www.cs.toronto.edu/~kriz/cifar.html"

DATASETS: dict[str, DatasetInfo] = {
    "shapes": DatasetInfo(
        summary="Built in: ten shapes with patterns of their own, all else is nuisance",
        num_classes=10,
        resolution=32,
        num_train=8000,
        num_test=2000,
        licence="that of sslbench",
        annotations=frozenset({"labels", "boxes", "masks", "depth"}),
    ),
    "cifar10": DatasetInfo(
        summary="CIFAR-10: small photographs of animals and vehicles",
        num_classes=10,
        resolution=32,
        num_train=50_000,
        num_test=10_000,
        url=_KRIZHEVSKY,
        downloads=True,
    ),
    "cifar100": DatasetInfo(
        summary="CIFAR-100: small photographs, fine classes",
        num_classes=100,
        resolution=32,
        num_train=50_000,
        num_test=10_000,
        url=_KRIZHEVSKY,
        downloads=True,
    ),
    "stl10": DatasetInfo(
        summary="STL-10: few labelled photographs, and 100,000 without labels",
        num_classes=10,
        resolution=96,
        num_train=5000,
        num_test=8000,
        url="https://cs.stanford.edu/~acoates/stl10/",
        downloads=True,
    ),
    "svhn": DatasetInfo(
        summary="Street View House Numbers, cropped digits",
        num_classes=10,
        resolution=32,
        num_train=73_257,
        num_test=26_032,
        licence="non-commercial use only",
        url="http://ufldl.stanford.edu/housenumbers/",
        downloads=True,
    ),
    "fashion-mnist": DatasetInfo(
        summary="Fashion-MNIST: grey product photographs",
        num_classes=10,
        resolution=28,
        num_train=60_000,
        num_test=10_000,
        licence="MIT",
        url="https://github.com/zalandoresearch/fashion-mnist",
        downloads=True,
    ),
    "tiny-imagenet": DatasetInfo(
        summary="Tiny ImageNet: 200 classes of ImageNet at 64 pixels",
        num_classes=200,
        resolution=64,
        num_train=100_000,
        num_test=10_000,
        licence="ImageNet's: research, non-commercial",
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        downloads=True,
    ),
    "imagenette": DatasetInfo(
        summary="Imagenette: ten easy classes of ImageNet",
        num_classes=10,
        resolution=96,
        num_train=9469,
        num_test=3925,
        licence="ImageNet's: research, non-commercial",
        url="https://github.com/fastai/imagenette",
        downloads=True,
    ),
    "folder": DatasetInfo(
        summary="Your own: <path>/train/<class>/ and <path>/val/<class>/ (or test/)",
        num_classes=None,
        resolution=None,
    ),
    "flat": DatasetInfo(
        summary="Your own without labels: all images under <path>",
        num_classes=None,
        resolution=None,
        annotations=frozenset(),
    ),
}


def name_and_path(text: str) -> tuple[str, str | None]:
    """Of "NAME" or "NAME:PATH", as options and tables write a data set. Raises UserError."""
    name, colon, path = text.strip().partition(":")
    if name not in DATASETS:
        raise UserError(f"No data set '{name}'{did_you_mean(name, DATASETS)}")
    if colon and name == "shapes":
        raise UserError(f"{text}: shapes is drawn and has no folder; write shapes.")
    if colon and not path:
        raise UserError(f"{text}: give the folder after the colon, or leave it out.")
    return name, path or None


def resolution_of(data: Data) -> int:
    """The side of the images that a spec gives, in pixels. Raises UserError where none is said."""
    if isinstance(data, Shapes) or data.resolution is not None:
        assert data.resolution is not None
        return data.resolution
    resolution = DATASETS[data.name].resolution
    if resolution is None:
        raise UserError(f"Data set '{data.name}' has no resolution of its own; set one.")
    return resolution
