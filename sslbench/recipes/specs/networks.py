"""Encoders, heads, and how batch statistics are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.errors import UserError
from sslbench.recipes.base import Spec


@dataclass(frozen=True, kw_only=True)
class ResNet(Spec):
    """A torchvision ResNet without classifier; `small` stem: 3x3 stride 1, no max-pool.

    Two projects have a small stem of their own: solo-learn's pads by 2 (`stem_padding`), lightly's
    ResNet in a Sequential has no ReLU behind it (`stem_relu`).
    """

    DIGEST_SKIPS_DEFAULT: ClassVar[frozenset[str]] = frozenset({"stem_padding", "stem_relu"})

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2"] = "resnet50"
    stem: Literal["imagenet", "small"] = "imagenet"
    stem_padding: Literal[1, 2] | None = None  # of the small stem; None: 1
    stem_relu: bool = True
    zero_init_residual: bool = False

    def check(self) -> None:
        self.require(
            self.stem == "small" or (self.stem_padding is None and self.stem_relu),
            "stem_padding and stem_relu are of the small stem; set stem=small.",
        )


@dataclass(frozen=True, kw_only=True)
class NarrowResNet(Spec):
    """torchvision basic blocks at a small width, for a CPU: width doubles at each stage."""

    width: int = 16
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: int = 2
    zero_init_residual: bool = False

    def check(self) -> None:
        self.require(self.width >= 1 and self.stem_stride in (1, 2), "width >= 1, stride 1 or 2.")
        self.require(bool(self.blocks) and min(self.blocks) >= 1, "blocks must be positive.")


VIT_WIDTHS = {"tiny": 192, "small": 384, "base": 768}


@dataclass(frozen=True, kw_only=True)
class ViT(Spec):
    """A timm Vision Transformer, by size and patch.

    `width`, `depth` and `heads` replace those of `arch`: 192, 384 or 768 wide, 12 blocks, heads
    64 wide. `pool` "mean" averages the patches; a class token that nothing reads stays among
    them. `patch_projection` "random" freezes the projection of patches at its initialisation.
    `init` "mocov3" starts every linear layer from Xavier's uniform distribution, queries, keys
    and values as three of them. `drop_path` drops nothing in a target network.
    """

    DIGEST_SKIPS_DEFAULT: ClassVar[frozenset[str]] = frozenset(
        {"width", "depth", "heads", "patch_projection", "final_norm", "init"}
    )

    arch: Literal["tiny", "small", "base"] = "small"
    patch: int = 16
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    positions: Literal["learned", "sincos", "none"] = "learned"
    patch_projection: Literal["learned", "random"] = "learned"
    pool: Literal["cls", "mean"] = "cls"
    final_norm: bool = True
    drop_path: float = 0.0
    init: Literal["timm", "mocov3"] = "timm"

    def check(self) -> None:
        sizes = (self.patch, self.width, self.depth, self.heads)
        self.require(all(size is None or size >= 1 for size in sizes),
                     "patch, width, depth and heads must be >= 1.")  # fmt: skip
        self.require(0 <= self.drop_path < 1, "drop_path must lie in [0, 1).")

    def require_shape(self) -> None:
        """Raise UserError unless heads and positions fit the width, which may be set one after
        the other."""
        width, _, heads = self.shape()
        self.require(width % heads == 0,
                     f"{heads} heads do not divide a width of {width}; set encoder.heads or "
                     "encoder.width.")  # fmt: skip
        self.require(self.positions != "sincos" or width % 4 == 0,
                     f"sin-cos positions need a width that 4 divides, not {width}; set "
                     "encoder.width.")  # fmt: skip

    def require_fit(self, resolution: int) -> None:
        """Raise UserError unless the patch divides images of that side, in pixels."""
        if resolution % self.patch:
            fitting = [p for p in range(2, resolution) if resolution % p == 0]
            near = min(fitting, key=lambda p: abs(p - self.patch), default=resolution)
            raise UserError(
                f"encoder.patch: {self.patch} does not divide the resolution {resolution}; "
                f"try encoder.patch={near}."
            )

    def shape(self) -> tuple[int, int, int]:
        """(width, depth, heads)."""
        width = self.width or VIT_WIDTHS[self.arch]
        return width, self.depth or 12, self.heads or max(1, width // 64)


@dataclass(frozen=True, kw_only=True)
class SmallAlexNet(Spec):
    """AlexNet for small images, with batch norm: five 3x3 convolutions, then two layers of 4,096.

    The representation is the second of them (fc7), after its ReLU.
    """


@dataclass(frozen=True, kw_only=True)
class RawPixels(Spec):
    """The flattened image as the representation: the baseline that every method must beat."""


@dataclass(frozen=True, kw_only=True)
class ColorHistogram(Spec):
    """A joint RGB histogram as the representation: what colour alone tells."""

    bins: int = 4

    def check(self) -> None:
        self.require(self.bins >= 1, "bins must be >= 1.")


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

    DIGEST_SKIPS_DEFAULT: ClassVar[frozenset[str]] = frozenset(
        {"activation", "init", "out_norm_shift"}
    )

    hidden: tuple[int, ...] = ()
    out: int | None = 128
    hidden_norm: bool = True
    hidden_bias: bool = True
    activation: Literal["relu", "gelu"] = "relu"
    out_norm: bool = False
    out_norm_affine: bool = True
    out_norm_shift: bool = True
    out_bias: bool = True
    init: Literal["default", "trunc_normal"] = "default"
    trainable: bool = True
    constant_learning_rate: bool = False
    learning_rate_scale: float = 1.0

    def check(self) -> None:
        widths = (*self.hidden, *(() if self.out is None else (self.out,)))
        self.require(all(w >= 1 for w in widths), "widths must be >= 1.")
        self.require(self.learning_rate_scale > 0, "learning_rate_scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class Channels(Spec):
    """The first `out` channels of the representation, in place of a projector; no parameters."""

    out: int = 360

    def check(self) -> None:
        self.require(self.out >= 1, "out must be >= 1.")


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
