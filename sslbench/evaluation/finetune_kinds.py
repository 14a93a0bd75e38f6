"""The settings of protocols that train the encoder further. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.evaluation.protocol import TOP1, TOP5, Protocol, Value
from sslbench.recipes.specs import EncoderSpec, LibraryEncoder, NarrowResNet, ResNet, ViT


def accuracy(key: str) -> Value:
    """A top-1 accuracy of another name."""
    return Value(key=key, unit="%", better="higher", guesses=1)


@dataclass(frozen=True, kw_only=True)
class Tuned(Protocol):
    """What fine-tuning is: encoder and a new linear head, trained with labels by AdamW.

    Every pair of `learning_rates` and `layer_decays` is fitted for `choice_epochs` on the training
    images without the held-out tenth, and judged there; the best is fitted from the pre-trained
    weights for `epochs` on all training images, and the test images are read once, after the last
    epoch. An encoder without a layer map has the decay 1 alone.

    `learning_rates` are of the head for 256 images, and go with the size of the batch; layer k of
    L blocks has the rate times decay^(L + 1 - k). A linear warm-up over `warmup` of all steps, then
    half a cosine to 0. A set smaller than `batch_size` is one batch. Positions and patch
    projections are trained also where pre-training froze them, batch norms follow the batches, and
    the head starts at a bias of 0 and weights of `head_std`. `mixup`, `cutmix` and `erasing` are
    those of `sslbench.views.mixing`; 0 switches one off. `drop_path` is of ViTs. `precision` is
    that of every device.
    """

    needs: ClassVar = frozenset({"labels"})
    checker: ClassVar = "sslbench.evaluation.finetune:check"

    learning_rates: tuple[float, ...]
    layer_decays: tuple[float, ...]
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    epochs: int = 10
    choice_epochs: int = 2
    batch_size: int = 128
    warmup: float = 0.1
    head_std: float = 2e-5
    drop_path: float = 0.1
    crop_scale: tuple[float, float] = (0.35, 1.0)
    flip: float = 0.5
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.1
    erasing: float = 0.0
    precision: str = "float32"
    choice: str = "top-1, then cross-entropy, then the lower rate"

    def passes(self, images: int) -> float:
        pairs = len(self.learning_rates) * len(self.layer_decays)
        return self.epochs + (pairs * self.choice_epochs if pairs > 1 else 0)

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            encoder.trainable,
            f"{self.name} trains the encoder, and this one has no parameters; use "
            "linear.features.v1.",
        )


@dataclass(frozen=True, kw_only=True)
class FineTune(Tuned):
    """Fine-tuning beside training from scratch, which is always asked for.

    `scratch` is the same protocol, its settings chosen anew, on the same network at the random
    start of the same seed: equal epochs of labels. `scratch_total` trains that as many epochs more
    as the run was pre-trained, with `scratch`'s settings: equal epochs altogether. It is absent
    where they are not known, of an encoder file, and on another data set than the run's own.
    `gain` and `gain_total` are top1 less these. An untrained encoder is its own scratch.
    """

    values: ClassVar = (
        TOP1,
        TOP5,
        accuracy("scratch"),
        accuracy("scratch_total"),
        Value(key="gain", unit="points", better="higher"),
        Value(key="gain_total", unit="points", better="higher"),
    )
    runner: ClassVar = "sslbench.evaluation.finetune:run"

    def scratch_passes(self, images: int, *, pretraining: float) -> float:
        return self.passes(images) + self.epochs + pretraining


@dataclass(frozen=True, kw_only=True)
class PartialFineTune(Tuned):
    """Fine-tuning of the last blocks alone: none, the MLP of the last one, one, half of them, all.

    Below, all is frozen and in evaluation mode; the norm behind the blocks is trained with them.
    Each part chooses its rate anew. All parts have a layer decay of 1, `blocks_all` too, so that
    they differ in nothing else: it is not `finetune.v1`. A ResNet has no half block.
    Source: He et al. 2021 (MAE), Sec. 4.4 and Fig. 9.
    """

    values: ClassVar = (
        accuracy("blocks0"),
        accuracy("half_block"),
        accuracy("blocks1"),
        accuracy("blocks_half"),
        accuracy("blocks_all"),
    )
    runner: ClassVar = "sslbench.evaluation.finetune_parts:run"
    checker: ClassVar = "sslbench.evaluation.finetune_parts:check"

    def passes(self, images: int) -> float:
        return len(self.values) * super().passes(images)

    def require_encoder(self, encoder: EncoderSpec) -> None:
        super().require_encoder(encoder)
        encoder.require(  # a library's network is asked when it is there
            isinstance(encoder, ViT | ResNet | NarrowResNet | LibraryEncoder),
            f"{self.name} trains the last blocks of a ViT or a ResNet; use finetune.v1.",
        )


@dataclass(frozen=True, kw_only=True)
class FewLabelFineTune(Tuned):
    """Fine-tuning on the few labels of `FewLabels`: its draws, of which there are fewer here, since
    each takes fits of the encoder.

    The settings of a draw are chosen among its own labels: by fits of `choice_epochs` without the
    first of `folds` stratified parts, judged on that part. Scratch is the untrained encoder's own
    score. An epoch is one of the drawn images, so that a batch is small and epochs are many; their
    number is Chen et al. 2020's (SimCLR, App. B.5) for 1 %.
    """

    values: ClassVar = (
        accuracy("top1_1"),
        accuracy("top1_10"),
        Value(key="spread_1", unit="points"),
        Value(key="spread_10", unit="points"),
    )
    runner: ClassVar = "sslbench.evaluation.few_label_fits:run"
    checker: ClassVar = "sslbench.evaluation.few_label_fits:check"

    epochs: int = 60
    choice_epochs: int = 10
    batch_size: int = 32
    fractions: tuple[float, ...] = (0.01, 0.1)
    draws: int = 3
    draw_seed: int = 0
    folds: int = 5

    def passes(self, images: int) -> float:
        return self.draws * sum(self.fractions) * super().passes(images)
