"""The data sets by name: what is known of each before it is loaded, and where its reader is.

One entry is the whole registration of a set, so that a plugin adds its own the same way:
`DATASETS["mine"] = DatasetInfo(summary=..., reader=read)`. Imports no torch: what needs it is
named by "module:function".
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench import plugins
from sslbench.errors import UserError, did_you_mean, first_line
from sslbench.recipes.specs import Clips, ImageSet, Scenes, Shapes

if TYPE_CHECKING:
    from sslbench.data.dataset import Raw
    from sslbench.recipes.specs import Data, DrawnSpec

ANNOTATIONS = ("labels", "multilabels", "boxes", "masks", "semantic", "depth", "clips")

Files = Callable[[Path, int], "Raw"]  # of a folder, at a resolution
Drawing = Callable[[Any], "Raw"]  # of the entry's own spec


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is worth knowing about a data set before it is loaded.

    Attributes:
        reader: what makes it, a function or its "module:name". Of files: takes the folder and the
            resolution, gives `sslbench.data.Raw` at that resolution, which is packed beside the
            files. Of a drawn set: takes its spec.
        annotations: what is known of its images, of `ANNOTATIONS`; a reader that gives less is
            refused.
        optional: what its files may give besides.
        num_classes: None where the folders decide, or without any.
        resolution: native side in pixels, or the one used when a recipe names none; None where
            the images' sizes vary and the recipe must name one.
        licence: as its authors state it; None where they state none.
        spec: what names it in an experiment; a spec of its own where it is drawn.
        version: of a drawn set, raised with every change of its pixels or annotations.
        files: what it consists of, as paths below its folder; without any, all that is there.
        parts: what a complete copy has, below its folder or the only one in it with a train/.
        download: what gets it, a function of the folder or its "module:name".
        lister: of a folder of image files, what finds them without opening any, a function of the
            folder that gives `folders.Listed` or its "module:name"; such a set can be streamed.
        needs_path: whether it has no place of its own below the data root.

    Raises:
        UserError: an unknown annotation.
    """

    summary: str
    reader: str | Files | Drawing
    annotations: frozenset[str] = frozenset({"labels"})
    optional: frozenset[str] = frozenset()
    num_classes: int | None = None
    resolution: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    licence: str | None = None
    url: str | None = None
    spec: type[ImageSet] | type[DrawnSpec] = ImageSet
    version: int = 1
    files: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    download: str | Callable[[Path], None] | None = None
    lister: str | Callable[[Path], Any] | None = None
    needs_path: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "annotations", frozenset(self.annotations))
        for word in sorted((self.annotations | self.optional) - {*ANNOTATIONS}):
            raise UserError(f"No annotation '{word}'{did_you_mean(word, ANNOTATIONS)}")

    @property
    def possible(self) -> frozenset[str]:
        """All that may be known of its images, before its files are read."""
        return self.annotations | self.optional

    @property
    def labelled(self) -> bool:
        """Whether every image has one class."""
        return "labels" in self.annotations

    @property
    def drawn(self) -> bool:
        """Whether it is made by a program, from no files."""
        return self.spec is not ImageSet

    @property
    def foreign(self) -> bool:
        """Whether the reader is not of this package."""
        own = isinstance(self.reader, str) and self.reader.startswith("sslbench.")
        return bool(plugins.used_by([self.reader])) or not own

    def reader_code(self) -> bytes:
        """What changes with a foreign reader, and makes packed copies stale: its plugin's hash, or
        its file; nothing where it was typed into a prompt."""
        if used := plugins.used_by([self.reader]):
            return "".join(used.values()).encode()
        with contextlib.suppress(TypeError, OSError):
            return Path(inspect.getfile(inspect.unwrap(function(self.reader)))).read_bytes()
        return b""


def function(where: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function itself, or the one of a "module:name". Raises UserError: there is none."""
    if not isinstance(where, str):
        return where
    module, _, name = where.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"'{where}' is no function of a module ({first_line(error)}).") from error
    return found


def info(name: str) -> DatasetInfo:
    """The entry of a data set. Raises UserError: there is none; the sentence has the nearest."""
    if name not in DATASETS:
        raise UserError(f"No data set '{name}'{did_you_mean(name, DATASETS)}")
    return DATASETS[name]


def name_and_path(text: str) -> tuple[str, str | None]:
    """Of "NAME" or "NAME:PATH", as options and tables write a data set. Raises UserError."""
    name, colon, path = text.strip().partition(":")
    if info(name).drawn and colon:
        raise UserError(f"{text}: {name} is drawn and has no folder; write {name}.")
    if colon and not path:
        raise UserError(f"{text}: give the folder after the colon, or leave it out.")
    return name, path or None


def resolution_of(data: Data) -> int:
    """The side of the images that a spec gives, in pixels. Raises UserError where none is said."""
    resolution = data.resolution or info(data.set_name).resolution
    if resolution is None:
        raise UserError(f"Data set '{data.set_name}' has no resolution of its own; set one.")
    return resolution


_OWN_LICENCE = "that of sslbench"
_KRIZHEVSKY = "https://www.cs.toronto.edu/~kriz/cifar.html"

# What torchvision unpacks, below the data set's own folder.
_CIFAR10 = (
    *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
    "cifar-10-batches-py/test_batch",
    "cifar-10-batches-py/batches.meta",
)
_STL10 = (
    *(f"stl10_binary/{half}.bin" for half in ("train_X", "train_y", "test_X", "test_y")),
    "stl10_binary/unlabeled_X.bin",
    "stl10_binary/class_names.txt",
)
_FASHION_MNIST = tuple(
    f"FashionMNIST/raw/{half}-{kind}-ubyte"
    for half in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)

DATASETS: dict[str, DatasetInfo] = {
    "shapes": DatasetInfo(
        summary="Built in: ten shapes with patterns of their own, all else is nuisance",
        spec=Shapes,
        reader="sslbench.data.shapes:shapes",
        annotations=frozenset({"labels", "boxes", "masks", "semantic", "depth"}),
        num_classes=Shapes.num_classes,
        resolution=Shapes.resolution,
        num_train=Shapes.num_train,
        num_test=Shapes.num_test,
        licence=_OWN_LICENCE,
    ),
    "scenes": DatasetInfo(
        summary="Built in: several of these shapes in an image, one before the other",
        spec=Scenes,
        reader="sslbench.data.scenes:scenes",
        annotations=frozenset({"multilabels", "boxes", "masks", "semantic", "depth"}),
        num_classes=Scenes.num_classes,
        resolution=Scenes.resolution,
        num_train=Scenes.num_train,
        num_test=Scenes.num_test,
        licence=_OWN_LICENCE,
    ),
    "clips": DatasetInfo(
        summary="Built in: clips of such scenes, in which the shapes move",
        spec=Clips,
        reader="sslbench.data.scenes:clips",
        annotations=frozenset({"multilabels", "boxes", "masks", "semantic", "depth", "clips"}),
        num_classes=Clips.num_classes,
        resolution=Clips.resolution,
        num_train=Clips.num_train,
        num_test=Clips.num_test,
        licence=_OWN_LICENCE,
    ),
    "cifar10": DatasetInfo(
        summary="CIFAR-10: small photographs of animals and vehicles",
        reader="sslbench.data.arrays:cifar10",
        num_classes=10,
        resolution=32,
        num_train=50_000,
        num_test=10_000,
        url=_KRIZHEVSKY,
        files=_CIFAR10,
        download="sslbench.data.downloads:cifar10",
    ),
    "cifar100": DatasetInfo(
        summary="CIFAR-100: small photographs, fine classes",
        reader="sslbench.data.arrays:cifar100",
        num_classes=100,
        resolution=32,
        num_train=50_000,
        num_test=10_000,
        url=_KRIZHEVSKY,
        files=tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
        download="sslbench.data.downloads:cifar100",
    ),
    "stl10": DatasetInfo(
        summary="STL-10: few labelled photographs, and 100,000 without labels",
        reader="sslbench.data.arrays:stl10",
        num_classes=10,
        resolution=96,
        num_train=5000,
        num_test=8000,
        url="https://cs.stanford.edu/~acoates/stl10/",
        files=_STL10,
        download="sslbench.data.downloads:stl10",
    ),
    "svhn": DatasetInfo(
        summary="Street View House Numbers, cropped digits",
        reader="sslbench.data.arrays:svhn",
        num_classes=10,
        resolution=32,
        num_train=73_257,
        num_test=26_032,
        licence="non-commercial use only",
        url="http://ufldl.stanford.edu/housenumbers/",
        files=("train_32x32.mat", "test_32x32.mat"),
        download="sslbench.data.downloads:svhn",
    ),
    "fashion-mnist": DatasetInfo(
        summary="Fashion-MNIST: grey product photographs",
        reader="sslbench.data.arrays:fashion_mnist",
        num_classes=10,
        resolution=28,
        num_train=60_000,
        num_test=10_000,
        licence="MIT",
        url="https://github.com/zalandoresearch/fashion-mnist",
        files=_FASHION_MNIST,
        download="sslbench.data.downloads:fashion_mnist",
    ),
    "tiny-imagenet": DatasetInfo(
        summary="Tiny ImageNet: 200 classes of ImageNet at 64 pixels",
        reader="sslbench.data.folders:tiny_imagenet",
        lister="sslbench.data.folders:list_tiny_imagenet",
        num_classes=200,
        resolution=64,
        num_train=100_000,
        num_test=10_000,
        licence="ImageNet's: research, non-commercial",
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        parts=("train", "val", "wnids.txt", "val/val_annotations.txt"),
        download="sslbench.data.downloads:tiny_imagenet",
    ),
    "imagenette": DatasetInfo(
        summary="Imagenette: ten easy classes of ImageNet",
        reader="sslbench.data.folders:class_folders",
        lister="sslbench.data.folders:list_class_folders",
        num_classes=10,
        resolution=96,
        num_train=9469,
        num_test=3925,
        licence="ImageNet's: research, non-commercial",
        url="https://github.com/fastai/imagenette",
        parts=("train", "val"),
        download="sslbench.data.downloads:imagenette",
    ),
    "folder": DatasetInfo(
        summary="Your own: <path>/train/<class>/ and <path>/val/<class>/ (or test/)",
        reader="sslbench.data.folders:class_folders",
        lister="sslbench.data.folders:list_class_folders",
        needs_path=True,
    ),
    "flat": DatasetInfo(
        summary="Your own without labels: all images under <path>",
        reader="sslbench.data.folders:flat",
        lister="sslbench.data.folders:list_flat",
        annotations=frozenset(),
        needs_path=True,
    ),
    "voc": DatasetInfo(
        summary="Your own as PASCAL VOC: JPEGImages/, Annotations/, ImageSets/ under <path>",
        reader="sslbench.data.voc:voc",
        annotations=frozenset({"multilabels", "boxes"}),
        optional=frozenset({"masks", "semantic"}),
        needs_path=True,
    ),
    "voc-segmentation": DatasetInfo(
        summary="The images of such a set that ImageSets/Segmentation lists, with their masks",
        reader="sslbench.data.voc:voc_segmentation",
        annotations=frozenset({"multilabels", "boxes", "masks", "semantic"}),
        needs_path=True,
    ),
    "coco": DatasetInfo(
        summary="Your own as COCO: <path>/annotations/instances_<half>.json, <half>/ with images",
        reader="sslbench.data.coco:coco",
        annotations=frozenset({"multilabels", "boxes"}),
        optional=frozenset({"masks", "semantic"}),
        needs_path=True,
    ),
    "segmentation": DatasetInfo(
        summary="Your own as CamVid or ADE20K: folders of images and of label maps under <path>",
        reader="sslbench.data.segmentation:segmentation",
        annotations=frozenset({"semantic"}),
        needs_path=True,
    ),
    "depth": DatasetInfo(
        summary="Your own as NYU Depth: folders of images and of depth maps under <path>",
        reader="sslbench.data.depth:depth",
        annotations=frozenset({"depth"}),
        needs_path=True,
    ),
    "penn-fudan": DatasetInfo(
        summary="Penn-Fudan: street scenes with pedestrians, PNGImages/ and PedMasks/ under <path>",
        reader="sslbench.data.penn_fudan:penn_fudan",
        annotations=frozenset({"boxes", "masks", "semantic"}),
        num_classes=1,
        num_train=128,
        num_test=42,
        url="https://www.cis.upenn.edu/~jshi/ped_html/",
        needs_path=True,
    ),
}
