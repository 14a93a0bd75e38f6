"""The settings of protocols that judge an encoder by its maps: segmentation and depth, frozen, and
segmentation fine-tuned. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.evaluation.linear_kinds import Linear
from sslbench.evaluation.protocol import Protocol, Value
from sslbench.evaluation.scores import Score
from sslbench.recipes.specs import ColorHistogram, EncoderSpec, RawPixels

LONGER = 3  # times the iterations of the longer scratch
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
        encoder.require(
            self.level == "last" or not isinstance(encoder, RawPixels),
            f"{self.name} reads the map before the last one, and pixels are one map alone; use "
            "depth.v1.",
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
    per_image: ClassVar = "sslbench.evaluation.per_image:ClassPixels"

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
    per_image: ClassVar = "sslbench.evaluation.per_image:DepthErrors"

    choice: str = "AbsRel, then L1, then the lower rate"


@dataclass(frozen=True, kw_only=True)
class SegmentationFineTune(Protocol):
    """Semantic segmentation by a fully convolutional head, trained end to end with the encoder.

    The head reads the last map: two 3×3 convolutions of `width` channels, each with batch norm and
    ReLU, and a 1×1 convolution to the classes, resized to the image by bilinear interpolation. A
    `dilation` of 1, not 6: maps here have 8 to 14 cells a side, of which two such convolutions see
    five, and with 6 they would see mostly padding. `width` 128, not 256, as encoders are narrow.
    Random resized crops of `crop_scale` of the area and flips move image and map together; labels
    are taken from the nearest pixel.

    Every pair of `learning_rates` and `layer_decays` is fitted for `choice_iterations` without the
    held-out tenth and judged there; the best is fitted from the pre-trained weights for
    `iterations` on all training images, and the test images are read once. Iterations do not go
    with the size of the set. Rates are of the head for 256 images and go with the size of the
    batch, layer decay, warm-up and cosine are those of `finetune.v1`; AdamW, since one optimiser
    must do for ResNets and ViTs. An encoder without a layer map has the decay 1 alone. Measures and
    classes are those of `segmentation.linear.v1`.

    `scratch` is the same protocol, its settings chosen anew, on the same network at the random
    start of the same seed; `scratch_long` trains that `LONGER` times as long, with `scratch`'s
    settings. `gain` and `gain_long` are miou less these. An untrained encoder is its own scratch
    and has no longer one.
    Source: Long et al. 2015 (FCN); the head: He et al. 2020 (MoCo), on VOC; longer scratch: He et
    al. 2019.
    """

    needs: ClassVar = frozenset({"semantic"})
    values: ClassVar = (
        MIOU,
        PIXELS,
        MAJORITY,
        Value(key="scratch", unit="%", better="higher"),
        Value(key="scratch_long", unit="%", better="higher"),
        Value(key="gain", unit="points", better="higher"),
        Value(key="gain_long", unit="points", better="higher"),
    )
    runner: ClassVar = "sslbench.evaluation.segmentation_finetune:run"
    checker: ClassVar = "sslbench.evaluation.segmentation_finetune:check"
    per_image: ClassVar = "sslbench.evaluation.per_image:ClassPixels"

    learning_rates: tuple[float, ...]
    layer_decays: tuple[float, ...]
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    iterations: int = 1000
    choice_iterations: int = 150
    batch_size: int = 16
    warmup: float = 0.1
    drop_path: float = 0.1
    crop_scale: tuple[float, float] = (0.35, 1.0)
    flip: float = 0.5
    width: int = 128
    dilation: int = 1
    precision: str = "float32"
    choice: str = "mIoU, then cross-entropy, then the lower rate"

    def passes(self, images: int) -> float:
        pairs = len(self.learning_rates) * len(self.layer_decays)
        chosen = pairs * self.choice_iterations if pairs > 1 else 0
        return (self.iterations + chosen) * self.batch_size / images

    def scratch_passes(self, images: int, *, pretraining: float) -> float:
        return self.passes(images) + LONGER * self.iterations * self.batch_size / images

    def longer(self, score: Score) -> SegmentationFineTune:
        """The same for `LONGER` times as many iterations, with the settings of a score."""
        return dataclasses.replace(
            self,
            name=f"{self.name}.long-{LONGER}",
            iterations=LONGER * self.iterations,
            learning_rates=(score.chosen["learning_rate"],),
            layer_decays=(score.chosen["layer_decay"],),
        )

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            encoder.trainable,
            f"{self.name} trains the encoder, and this one has no parameters; use "
            "segmentation.linear.v1.",
        )
