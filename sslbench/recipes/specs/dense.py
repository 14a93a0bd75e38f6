"""Dense learning: heads over a feature map, what its cells are compared by, and a vector beside."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from sslbench.recipes.base import Spec
from sslbench.recipes.specs.contrastive import InfoNCE
from sslbench.recipes.specs.networks import MLP
from sslbench.recipes.specs.objective import apart
from sslbench.recipes.specs.objectives import NegativeCosine

if TYPE_CHECKING:
    from sslbench.recipes.families.dense import DenseRecipe


@dataclass(frozen=True, kw_only=True)
class MapHead(Spec):
    """A head of 1x1 convolutions, the same for each cell of a map: convolution(-BN)-ReLU per hidden
    width, then convolution(-BN). `out=None` is as wide as the input; `bias` is of every
    convolution.

    Source: Xie et al. 2020 (PixPro), Sec. 3.1; Wang et al. 2020 (DenseCL), Sec. 3.2.
    """

    hidden: tuple[int, ...] = (4096,)
    out: int | None = 256
    hidden_norm: bool = True
    out_norm: bool = False
    bias: bool = True

    def check(self) -> None:
        widths = (*self.hidden, *(() if self.out is None else (self.out,)))
        self.require(all(w >= 1 for w in widths), "widths must be >= 1.")

    def num_parameters(self, width: int) -> int:
        """Weights over a map of that many channels, without biases and norms."""
        widths = (width, *self.hidden, self.out or width)
        return sum(a * b for a, b in itertools.pairwise(widths))


@dataclass(frozen=True, kw_only=True)
class PixelPropagation(Spec):
    """PixPro's predictor: each cell becomes the sum over all cells of its map of max(cosine,
    0)^`gamma` times their transformed, normalised vectors.

    `layers` of the transformation: none, one 1x1 convolution, or two with batch norm and ReLU
    between. `learning_rate_scale` as of `MLP`.

    Source: Xie et al. 2020 (PixPro), Sec. 3.2, Eq. 3 and 4; the normalisation is the code's.
    """

    gamma: float = 2.0
    layers: Literal[0, 1, 2] = 1
    learning_rate_scale: float = 1.0

    def check(self) -> None:
        self.require(self.gamma >= 0, "gamma must be >= 0.")
        self.require(self.learning_rate_scale > 0, "learning_rate_scale must be > 0.")

    def num_parameters(self, width: int) -> int:
        """Weights over a map of that many channels."""
        return self.layers * width**2


@dataclass(frozen=True, kw_only=True)
class InstanceBranch(Spec):
    """A loss on one vector an image, the encoder's output, beside that on cells; `weight` 0 leaves
    it out, with its heads."""

    projector: MLP = MLP()
    predictor: MLP | None = None
    objective: InfoNCE | NegativeCosine = NegativeCosine()
    weight: float = 1.0

    def check(self) -> None:
        self.require(self.weight >= 0, "weight must be >= 0.")
        self.require(
            not self.objective.reads_bank,
            "there is no memory bank here; set instance.objective.negatives to another choice.",
        )


@dataclass(frozen=True, kw_only=True)
class DenseObjectiveSpec(Spec, interface=True):
    """A loss on the cells of two views' maps. A kind is data: its implementation is the entry of
    the same type in `sslbench.objectives.dense.DENSE_OBJECTIVES`.

    `reads_positions`: cells are paired by where they lie in the source image. `symmetric`: the
    second view's cells are anchors too.
    """

    reads_positions: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    @property
    def queue_lengths(self) -> dict[str, int]:
        """The length of each queue by its dotted path, where there is one."""
        return {}

    def cause(self, recipe: DenseRecipe, *, complete: bool) -> str:
        """Why embeddings may have collapsed under this loss, as a sentence.

        Args:
            complete: all embeddings are alike; otherwise they fill few dimensions.
        """
        return "The learning rate may be too high for this objective."


@dataclass(frozen=True, kw_only=True)
class PixelConsistency(DenseObjectiveSpec):
    """PixPro: cells of two views that lie less than `threshold` apart, in diagonals of a cell, are
    to be alike: -`scale` times the mean cosine of such pairs.

    Source: Xie et al. 2020, Sec. 3.1 and Eq. 6.
    """

    threshold: float = 0.7
    scale: float = 4.0

    def check(self) -> None:
        self.require(self.threshold > 0, "threshold must be > 0.")
        self.require(self.scale > 0, "scale must be > 0.")

    def cause(self, recipe: DenseRecipe, *, complete: bool) -> str:
        if recipe.predictor is None:
            return (
                "There are no negatives and no predictor, so the target is met by a constant "
                "output."
            )
        if recipe.target.momentum < 0.5:
            return "The target follows too fast (momentum below 0.5)."
        return "The learning rate may be too high, or the predictor's own rate too low."


@dataclass(frozen=True, kw_only=True)
class PixelContrast(DenseObjectiveSpec):
    """PixContrast: a cell is to tell the near cells of the other view from all others of the same
    image. Near is as of `PixelConsistency`.

    Source: Xie et al. 2020, Sec. 3.1 and Eq. 2.
    """

    threshold: float = 0.7
    temperature: float = 0.3

    def check(self) -> None:
        self.require(self.threshold > 0, "threshold must be > 0.")
        self.require(self.temperature > 0, "temperature must be > 0.")

    def cause(self, recipe: DenseRecipe, *, complete: bool) -> str:
        return (
            "The loss tells the places of an image apart, not the images, and place alone is a "
            "way to meet it; add an instance branch, or lower the learning rate."
        )


@dataclass(frozen=True, kw_only=True)
class DenseContrast(DenseObjectiveSpec):
    """DenseCL: a cell's positive is the cell of the other view whose backbone features are the
    nearest by cosine; negatives are a queue of past images, of each the mean of its cells.

    `weight` is its part of the sum with the instance branch. For the first `warmup_epochs` it is
    left out, as the matches of a random backbone are noise.

    Source: Wang et al. 2020, arXiv:2011.09157, Sec. 3.2 to 3.4.
    """

    reads_positions: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False

    temperature: float = 0.2
    queue: int = 65536
    weight: float = 0.5
    warmup_epochs: float = 0.0

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.queue >= 1, "queue must be >= 1.")
        self.require(self.weight > 0, "weight must be > 0.")
        self.require(self.warmup_epochs >= 0, "warmup_epochs must be >= 0.")

    @property
    def queue_lengths(self) -> dict[str, int]:
        return {"queue": self.queue}

    def cause(self, recipe: DenseRecipe, *, complete: bool) -> str:
        return apart(f"temperature {self.temperature:g}", complete=complete)
