"""Heads, prototypes, and how batch statistics are taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec, later


@dataclass(frozen=True, kw_only=True)
class MLP(Spec):
    """A projection or prediction head: Linear(-BN)-ReLU per hidden width, then Linear(-BN).

    `out=None` is as wide as the input. `learning_rate_scale` multiplies this head's rate,
    `constant_learning_rate` leaves it out of the decay (SimSiam, Sec. 4.1, "lr not decayed"),
    `trainable=False` freezes it at its random initialisation. The norm of the output learns scale
    and shift, without `out_norm_shift` the scale alone (SimCLR), without `out_norm_affine` neither.
    `init` "trunc_normal" starts the weights from a truncated normal of std 0.02, the biases at 0
    (DINO).
    """

    hidden: tuple[int, ...] = ()
    out: int | None = 128
    hidden_norm: bool = True
    hidden_bias: bool = True
    activation: Literal["relu", "gelu"] = later("relu")
    out_norm: bool = False
    out_norm_affine: bool = True
    out_norm_shift: bool = later(True)
    out_bias: bool = True
    init: Literal["default", "trunc_normal"] = later("default")
    trainable: bool = True
    constant_learning_rate: bool = False
    learning_rate_scale: float = 1.0

    def check(self) -> None:
        widths = (*self.hidden, *(() if self.out is None else (self.out,)))
        self.require(all(w >= 1 for w in widths), "widths must be >= 1.")
        self.require(self.learning_rate_scale > 0, "learning_rate_scale must be > 0.")

    def num_parameters(self, width: int) -> int:
        """Weights over an input of that width, without biases and norms."""
        widths = (width, *self.hidden, self.out or width)
        return sum(a * b for a, b in itertools.pairwise(widths))


@dataclass(frozen=True, kw_only=True)
class Channels(Spec):
    """The first `out` channels of the representation, in place of a projector; no parameters."""

    out: int = 360

    def check(self) -> None:
        self.require(self.out >= 1, "out must be >= 1.")


@dataclass(frozen=True, kw_only=True)
class Spaces(Spec):
    """`count` heads of one form side by side, each to an embedding space of its own: their unit
    vectors, one behind the other."""

    head: MLP
    count: int

    def check(self) -> None:
        self.require(self.count >= 1, "count must be >= 1.")


Projector = MLP | Channels


@dataclass(frozen=True, kw_only=True)
class Prototypes(Spec):
    """Unit vectors that embeddings are scored against by cosine, `heads` sets of `count` each.

    SwAV's prototypes, DeepCluster's centroids, the last layer of DINO's head. `constraint`:
    `renormalize` puts them back on the sphere after every update, `weight_norm` normalises a free
    weight in the forward pass, with gradient. For the first `frozen_epochs` they get no gradient.
    """

    count: int = 3000
    heads: int = 1
    constraint: Literal["renormalize", "weight_norm"] = "renormalize"
    frozen_epochs: float = 0.0

    def check(self) -> None:
        self.require(self.count >= 2, "count must be >= 2.")
        self.require(self.heads >= 1, "heads must be >= 1.")
        self.require(self.frozen_epochs >= 0, "frozen_epochs must be >= 0.")


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Spec):
    """How batch statistics are taken.

    `synchronized`: over all processes; `local`: per process; `split`: over `splits` equal groups
    of the global batch, which emulates that many devices. `shuffle` permutes the key
    batch of a momentum target (MoCo). `joint_views` forwards both views as one batch (SimCLR).
    """

    mode: Literal["synchronized", "local", "split"] = "synchronized"
    splits: int = 1
    shuffle: bool = False
    joint_views: bool = False

    def check(self) -> None:
        self.require(self.splits >= 1, "splits must be >= 1.")
        self.require(self.mode == "split" or self.splits == 1, "splits need mode: split.")
