"""The settings of linear probes of whole images. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.evaluation.protocol import TOP1, TOP5, Protocol, Value
from sslbench.recipes.specs import EncoderSpec, LibraryEncoder, ViT


@dataclass(frozen=True, kw_only=True)
class Linear(Protocol):
    """Multinomial logistic regression on frozen features, by SGD under a cosine schedule.

    Every pair of `learning_rates` and `weight_decays` is trained, all at once, and one is chosen
    on the held-out part, fitted on all training images and tested. Weights start at zero. A small
    set gets whole further epochs until there are `least_steps`. `learning_rates` are for the mean
    loss of a batch and are not scaled by its size. A feature whose spread is below `least_spread`
    of its root mean square counts as constant: what is left of it is rounding.
    """

    needs: ClassVar = frozenset({"labels"})
    values: ClassVar[tuple[Value, ...]] = (TOP1, TOP5)
    runner: ClassVar = "sslbench.evaluation.linear:run"

    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...] = (0.0,)
    momentum: float = 0.9
    epochs: int = 30
    least_steps: int = 500
    batch_size: int = 256
    standardize: bool = True
    least_spread: float = 1e-5
    choice: str = "top-1, then cross-entropy, then the lower rate"
    order_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class AugmentedLinear(Linear):
    """The same on randomly cropped and flipped training images, another draw every epoch.

    The encoder stays in evaluation mode; held-out and test images are not augmented. Features are
    standardised by the statistics of the images without augmentation, which lets one grid of
    rates fit every encoder; the papers train on features as they are, at a rate of their own.
    """

    runner: ClassVar = "sslbench.evaluation.augmented:run"

    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5


@dataclass(frozen=True, kw_only=True)
class TokenLinear(Linear):
    """The same on a ViT's tokens, whatever its encoder pools: the probe of the papers on ViTs.

    `reading` of the last `blocks` blocks: the class token, or the mean of the patches, after the
    final norm. Features are standardised by the statistics of the training features: what the
    batch norm without affine parameters is that MAE puts before its probe (App. A.1, after Doersch
    et al. 2015), with the statistics of the whole set in place of running ones.
    """

    runner: ClassVar = "sslbench.evaluation.tokens:run"
    checker: ClassVar = "sslbench.evaluation.tokens:check"

    reading: Literal["class", "mean"]
    blocks: int = 1

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            isinstance(encoder, ViT | LibraryEncoder),  # a library's is asked when it is there
            f"{self.name} reads the tokens of a ViT; set encoder=ViT, or use linear.features.v1.",
        )
        depth = encoder.shape()[1] if isinstance(encoder, ViT) else self.blocks
        encoder.require(
            depth >= self.blocks,
            f"{self.name} reads the last {self.blocks} blocks, and there are {depth}; use "
            "linear.class-token.v1.",
        )


@dataclass(frozen=True, kw_only=True)
class FewLabels(Linear):
    """The same on few labels: for each of `fractions`, the share of each class's training images,
    rounded, whose labels are known, `draws` times; smaller subsets lie inside the larger ones.

    Only those labels are read. The settings of each draw are chosen among them, by
    cross-validation in at most `folds` stratified parts, and not on the held-out tenth, which
    has ten times the labels of 1 %; so a class needs two of them. Features are standardised by the
    statistics of all training images, whose labels that takes none of. Means over the draws are
    reported, and their standard deviation. The draws depend on `draw_seed` and the data alone:
    every run gets the same.
    """

    values: ClassVar = (
        Value(key="top1_1", unit="%", better="higher", guesses=1),
        Value(key="top1_10", unit="%", better="higher", guesses=1),
        Value(key="spread_1", unit="points"),
        Value(key="spread_10", unit="points"),
    )
    runner: ClassVar = "sslbench.evaluation.few_labels:run"
    checker: ClassVar = "sslbench.evaluation.few_labels:check"

    fractions: tuple[float, ...] = (0.01, 0.1)
    draws: int = 5
    draw_seed: int = 0
    folds: int = 5
    choice: str = "cross-validated top-1, then cross-entropy, then the lower rate"
