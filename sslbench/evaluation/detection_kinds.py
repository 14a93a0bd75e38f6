"""The settings of protocols that train a detector on the encoder. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.evaluation.protocol import Protocol, Value
from sslbench.evaluation.scores import Score
from sslbench.recipes.specs import EncoderSpec, LibraryEncoder, NarrowResNet, ResNet

LONGER = 3  # times the iterations of the longer scratch


def precision(key: str) -> Value:
    """An average precision, 0 to 100."""
    return Value(key=key, unit="AP", better="higher")


def gain(key: str) -> Value:
    """A difference of two."""
    return Value(key=key, unit="points", better="higher")


@dataclass(frozen=True, kw_only=True)
class Detection(Protocol):
    """Faster R-CNN on the encoder, all of which is trained, by SGD, on the boxes of the images.

    Each of `learning_rates`, which are for 16 images and go with the size of the batch, is fitted
    for `choice_iterations` without the held-out tenth and judged there; the best is fitted from the
    pre-trained weights for `iterations`, and the test images are read once. Iterations do not go
    with the size of the set; of a set larger than `max_train` so many images are used, drawn once
    and for all. A linear warm-up over `warmup` of the steps, then the rate, divided by 10 at
    each of `milestones`. Batch norms follow the batches, in the encoder too, and their statistics
    are taken anew over `norm_batches` of training batches before anything is judged.

    Lengths are shares of the image's side, since images are not enlarged: `anchors`. `form`:
    "pyramid", a feature pyramid over the encoder's maps; "c4", the encoder without its last stage,
    which is the head of the boxes, with a further batch norm behind it. `masks`: Mask R-CNN.

    `scratch` is the same protocol, its rate chosen anew, on the same network at the random start of
    the same seed; `scratch_long` trains that `LONGER` times as long, at `scratch`'s rate. `gain`
    and `gain_long` are ap less these. An untrained encoder is its own scratch and has no longer
    one.
    Source: Ren et al. 2015; Lin et al. 2017 (FPN); the schedule's shape, c4 and batch norms: He et
    al. 2020 (MoCo), Sec. 4.2 and App. B; He et al. 2019 (longer scratch).
    """

    needs: ClassVar = frozenset({"boxes"})
    values: ClassVar[tuple[Value, ...]] = (
        precision("ap"),
        precision("ap50"),
        precision("ap75"),
        precision("scratch"),
        precision("scratch_long"),
        gain("gain"),
        gain("gain_long"),
    )
    runner: ClassVar = "sslbench.evaluation.detection:run"
    checker: ClassVar = "sslbench.evaluation.detection:check"
    per_image: ClassVar[str] = "sslbench.evaluation.per_image:Verdicts"
    image_seconds: ClassVar = 0.015  # 2,400 iterations of 8 images of 64 pixels in five minutes

    form: Literal["pyramid", "c4"] = "pyramid"
    masks: bool = False
    learning_rates: tuple[float, ...]
    momentum: float = 0.9
    weight_decay: float = 1e-4
    iterations: int = 1500
    choice_iterations: int = 300
    batch_size: int = 8
    warmup: float = 0.1
    milestones: tuple[float, ...] = (0.75, 11 / 12)
    flip: float = 0.5
    max_train: int = 1000
    norm_batches: int = 25
    anchors: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    width: int = 32  # channels of the pyramid and of the heads
    hidden: int = 128  # of the full layer of the box head
    proposals: int = 64  # that the heads see, of twice as many a level before suppression
    sampled: int = 32  # anchors, and proposals, of an image that enter the loss
    detections: int = 20  # of an image, at most
    precision: str = "float32"
    choice: str = "AP, then AP50, then the lower rate"

    @property
    def key(self) -> str:
        """The value that rates are chosen by."""
        return "box_ap" if self.masks else "ap"

    def passes(self, images: int) -> float:
        rates = len(self.learning_rates)
        chosen = rates * self.choice_iterations if rates > 1 else 0
        return (self.iterations + chosen) * self.batch_size / images

    def scratch_passes(self, images: int, *, pretraining: float) -> float:
        return self.passes(images) + LONGER * self.iterations * self.batch_size / images

    def longer(self, score: Score) -> Detection:
        """The same for `LONGER` times as many iterations, at the rate of a score."""
        return dataclasses.replace(
            self,
            name=f"{self.name}.long-{LONGER}",
            iterations=LONGER * self.iterations,
            learning_rates=(score.chosen["learning_rate"],),
        )

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            encoder.trainable,
            f"{self.name} trains the encoder, and this one has no parameters; use another.",
        )
        if self.form == "c4":  # a library's network is asked when it is there
            stages = len(encoder.blocks) if isinstance(encoder, NarrowResNet) else 4
            encoder.require(
                isinstance(encoder, ResNet | NarrowResNet | LibraryEncoder) and stages > 1,
                f"{self.name} takes a ResNet of two stages or more apart; use detection.v1, which "
                "takes a ViT too.",
            )


@dataclass(frozen=True, kw_only=True)
class InstanceSegmentation(Detection):
    """Mask R-CNN in the same way: AP of boxes and of masks. The rate is chosen by that of boxes.

    Source: He et al. 2017 (Mask R-CNN).
    """

    needs: ClassVar = frozenset({"boxes", "masks"})
    values: ClassVar = (
        *(precision(f"box_{name}") for name in ("ap", "ap50", "ap75")),
        *(precision(f"mask_{name}") for name in ("ap", "ap50", "ap75")),
        precision("scratch_box_ap"),
        precision("scratch_mask_ap"),
        precision("scratch_long_box_ap"),
        precision("scratch_long_mask_ap"),
        gain("gain_box"),
        gain("gain_mask"),
        gain("gain_long_box"),
        gain("gain_long_mask"),
    )
    per_image: ClassVar[str] = "sslbench.evaluation.per_image:MaskVerdicts"

    masks: bool = True
