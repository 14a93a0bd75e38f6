"""The settings of protocols that judge an encoder by its maps: segmentation and depth, on frozen
ones. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.evaluation.linear_kinds import Linear
from sslbench.evaluation.protocol import Value
from sslbench.recipes.specs import ColorHistogram, EncoderSpec

MIOU = Value(key="miou", unit="%", better="higher")
PIXELS = Value(key="accuracy", unit="%", better="higher")
MAJORITY = Value(key="majority", unit="%", better="higher")


@dataclass(frozen=True, kw_only=True)
class MapProbe(Linear):
    """A 1×1 convolution on one frozen map of the encoder, resized to the image by bilinear
    interpolation and trained by SGD under a cosine schedule.

    The map has its mean and spread over all cells of the training images taken out of each channel:
    a batch norm without affine parameters and with the statistics of the whole set. Both the
    convolution and the resizing are linear, so that they may change places: a step interpolates the
    features of `pixels` random pixels of each of `batch_size` images, and all rates are one matrix
    product on them. Pixels of which nothing is known are left out. Images are not augmented.
    `level` is the map read: the last one, or the one before it. A ViT's are its patches.
    """

    level: Literal["last", "previous"] = "last"
    epochs: int = 10
    least_steps: int = 1000
    batch_size: int = 64
    pixels: int = 64

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            not isinstance(encoder, ColorHistogram),
            f"{self.name} reads maps of the encoder, and a histogram has none; use RawPixels as "
            "the baseline.",
        )


@dataclass(frozen=True, kw_only=True)
class SegmentationLinear(MapProbe):
    """Semantic segmentation by softmax regression on a frozen map.

    `miou` is the mean, over classes, of true positives over their union with what was predicted
    and what is there, of one confusion matrix of all test pixels; classes that are neither there
    nor predicted are left out. Void pixels are not counted and not trained on. What is none of the
    classes (0 in the map) is a class of its own where the training images have it; a class that
    they do not have cannot be predicted. `majority` is the mIoU of the training pixels' most
    frequent class everywhere.
    Source: the metric of PASCAL VOC, Everingham et al. 2010, Sec. 4.3.
    """

    needs: ClassVar = frozenset({"semantic"})
    values: ClassVar = (MIOU, PIXELS, MAJORITY)
    runner: ClassVar = "sslbench.evaluation.segmentation:run"
    checker: ClassVar = "sslbench.evaluation.segmentation:check"

    choice: str = "mIoU, then cross-entropy, then the lower rate"


@dataclass(frozen=True, kw_only=True)
class Depth(MapProbe):
    """Depth of every pixel from a frozen map: softplus of the 1×1 convolution, by L1.

    Depth is learned in units of the median depth of the training pixels, and training starts at
    that depth everywhere, so that the same rates fit metres and half image sides. The loss is the
    mean absolute error, whose best constant is that median: the probe and the constant beside it
    (`median_...`) are then judged by one loss. Pixels whose depth is not known (NaN) are neither
    learned nor counted. Measures are over all test pixels together: `abs_rel`, the mean of
    |d - d*| / d*; `rmse`, `mse`; `delta1`, the share where max(d / d*, d* / d) < 1.25.
    Source: the measures of Eigen et al. 2014, arXiv:1406.2283, Sec. 4.1. Their loss is a
    scale-invariant one of logarithms; a frozen linear probe of one camera has no scale to be
    invariant to.
    """

    needs: ClassVar = frozenset({"depth"})
    values: ClassVar = (
        Value(key="abs_rel", better="lower"),
        Value(key="rmse", better="lower"),
        Value(key="mse", better="lower"),
        Value(key="delta1", unit="%", better="higher"),
        Value(key="median_abs_rel", better="lower"),
        Value(key="median_mse", better="lower"),
        Value(key="median_delta1", unit="%", better="higher"),
    )
    runner: ClassVar = "sslbench.evaluation.depth:run"
    checker: ClassVar = "sslbench.evaluation.depth:check"

    choice: str = "AbsRel, then L1, then the lower rate"
