"""`load`: any data set by its spec, as uint8 tensors of one size on one device."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sslbench.data.dataset import Dataset, count_shared
from sslbench.data.fingerprints import fingerprint_of, shapes_fingerprint
from sslbench.data.packed import Packed, pack
from sslbench.data.shapes import CLASSES, shapes_split
from sslbench.data.subsets import heldout, subset
from sslbench.recipes.specs import Data, ImageSet, Shapes


def load(spec: Data, *, root: Path, device: str | torch.device = "cpu") -> Dataset:
    """The data set that `spec` names, subsets taken, with channel statistics and fingerprint.

    Args:
        spec: `Shapes`, which is rendered, or an `ImageSet`, which is read from `<root>/<name>`
            (or `spec.path`), downloaded there when absent, and packed beside the images so
            that the next call is fast.
        root: folder of all data sets.
        device: where the tensors lie in the end.
    Raises:
        UserError: an unknown name, missing or damaged files, or a spec the set cannot fill.
    """
    data = _shapes(spec) if isinstance(spec, Shapes) else _images(spec, Path(root))
    return data.to(device)


def _shapes(spec: Shapes) -> Dataset:
    train, test = shapes_split(spec, train=True), shapes_split(spec, train=False)
    mean, std = channel_statistics(train.images)
    return Dataset(
        name="shapes",
        classes=CLASSES[: spec.num_classes],
        train=train,
        test=test,
        heldout=heldout(train.labels, len(train)),
        unlabelled=None,
        mean=mean,
        std=std,
        fingerprint=shapes_fingerprint(spec),
        resolution=spec.resolution,
    )


def _images(spec: ImageSet, root: Path) -> Dataset:
    packed: Packed = pack(spec, root=root)
    train = subset(packed.train, spec.num_train)
    test = subset(packed.test, spec.num_test)
    mean, std = channel_statistics(train.images)
    return Dataset(
        name=spec.name,
        classes=packed.classes,
        train=train,
        test=test,
        heldout=heldout(train.labels, len(train)),
        unlabelled=packed.unlabelled,
        mean=mean,
        std=std,
        fingerprint=fingerprint_of(packed.content, spec),
        resolution=packed.train.images.shape[-1],
        shared=count_shared(test, train, packed.unlabelled),
    )


def channel_statistics(
    images: Tensor,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel of uint8 N×3×H×W, over [0, 1].

    Sums are exact (whole numbers), so that they depend on nothing but the images.
    """
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)
    for start in range(0, len(images), 4096):
        chunk = images[start : start + 4096]
        for channel in range(3):
            counts = torch.bincount(chunk[:, channel].reshape(-1), minlength=256).double()
            total[channel] += counts @ levels
            squares[channel] += counts @ levels.square()
    pixels = images[:, 0].numel()
    mean = total / pixels
    # A constant channel would be divided by 0: half a grey level is the least spread.
    std = (squares / pixels - mean.square()).clamp(min=0.25).sqrt()
    (m0, m1, m2), (s0, s1, s2) = (mean / 255).tolist(), (std / 255).tolist()
    return (m0, m1, m2), (s0, s1, s2)
