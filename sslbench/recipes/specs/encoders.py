"""Encoders: an image to its representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.errors import UserError
from sslbench.recipes.base import Spec, later


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(Spec, interface=True):
    """A network from images to a representation. A kind is data: its builder is the entry of the
    same type in `sslbench.models.encoders.ENCODERS`.

    `trainable`: it has parameters; without any, its representation has no randomness either.
    `any_size`: it takes images of other sizes than the data's, as local crops are.
    """

    trainable: ClassVar[bool] = True
    any_size: ClassVar[bool] = True

    def num_parameters(self) -> int:
        """About how many weights there are; 0 where that is not known before it is built."""
        return 0

    def out_width(self) -> int:
        """Of the representation; 0 where that is not known before it is built."""
        return 0

    def require_shape(self) -> None:
        """Raise UserError unless the fields fit each other; they may be set one by one."""

    def require_fit(self, resolution: int) -> None:
        """Raise UserError unless it takes images of that side, in pixels."""

    def require_view(self, size: int, *, where: str) -> None:
        """Raise UserError unless it takes views of that side in pixels; `where` is their path."""
        more = ", or views.num_local=0" if where == "views.local" else ""
        self.require(self.any_size, f"takes images of one size; set {where}.size=null{more}.")


# (weights, width) without classifier
_RESNETS = {"resnet18": (11_176_512, 512), "resnet34": (21_284_672, 512),
            "resnet50": (23_508_032, 2048), "resnet101": (42_500_160, 2048),
            "wide_resnet50_2": (66_834_240, 2048)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ResNet(EncoderSpec):
    """A torchvision ResNet without classifier; `small` stem: 3x3 stride 1, no max-pool.

    Two projects have a small stem of their own: solo-learn's pads by 2 (`stem_padding`), lightly's
    ResNet in a Sequential has no ReLU behind it (`stem_relu`).
    """

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2"] = "resnet50"
    stem: Literal["imagenet", "small"] = "imagenet"
    stem_padding: Literal[1, 2] | None = later(None)  # of the small stem; None: 1
    stem_relu: bool = later(True)
    zero_init_residual: bool = False

    def check(self) -> None:
        self.require(
            self.stem == "small" or (self.stem_padding is None and self.stem_relu),
            "stem_padding and stem_relu are of the small stem; set stem=small.",
        )

    def num_parameters(self) -> int:
        return _RESNETS[self.arch][0]

    def out_width(self) -> int:
        return _RESNETS[self.arch][1]


@dataclass(frozen=True, kw_only=True)
class NarrowResNet(EncoderSpec):
    """torchvision basic blocks at a small width, for a CPU: width doubles at each stage."""

    width: int = 16
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: int = 2
    zero_init_residual: bool = False

    def check(self) -> None:
        self.require(self.width >= 1 and self.stem_stride in (1, 2), "width >= 1, stride 1 or 2.")
        self.require(bool(self.blocks) and min(self.blocks) >= 1, "blocks must be positive.")

    def num_parameters(self) -> int:
        widths = [self.width * 2**i for i in range(len(self.blocks))]
        return sum(18 * n * width**2 for n, width in zip(self.blocks, widths, strict=True))

    def out_width(self) -> int:
        return int(self.width * 2 ** (len(self.blocks) - 1))


# (width, depth, heads)
VIT_SHAPES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12),
              "large": (1024, 24, 16), "huge": (1280, 32, 16)}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ViT(EncoderSpec):
    """A timm Vision Transformer, by size and patch.

    `width`, `depth` and `heads` replace those of `arch`: 192, 384 or 768 wide and 12 blocks,
    `large` 1,024 and 24, `huge` 1,280 and 32; heads are 64 wide, but for `huge`'s 16 of 80. `pool`
    "mean" averages the patches; a class token that nothing reads stays among them.
    `patch_projection` "random" freezes the projection of patches at its initialisation. `init`
    "mocov3" starts every linear layer from Xavier's uniform distribution, queries, keys and values
    as three of them, "xavier" as the one layer that they are (MAE). `drop_path` drops nothing in a
    target network.
    """

    arch: Literal["tiny", "small", "base", "large", "huge"] = "small"
    patch: int = 16
    width: int | None = later(None)
    depth: int | None = later(None)
    heads: int | None = later(None)
    positions: Literal["learned", "sincos", "none"] = "learned"
    patch_projection: Literal["learned", "random"] = later("learned")
    pool: Literal["cls", "mean"] = "cls"
    final_norm: bool = later(True)
    drop_path: float = 0.0
    init: Literal["timm", "mocov3", "xavier"] = later("timm")

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

    def require_view(self, size: int, *, where: str) -> None:
        near = max(1, round(size / self.patch)) * self.patch
        self.require(
            size % self.patch == 0,
            f"the patch of {self.patch} does not divide a view of {size} pixels; try "
            f"{where}.size={near}, or another encoder.patch.",
        )

    def num_parameters(self) -> int:
        width, depth, _ = self.shape()
        return 12 * depth * width**2 + 3 * self.patch**2 * width

    def out_width(self) -> int:
        return self.shape()[0]

    def shape(self) -> tuple[int, int, int]:
        """(width, depth, heads)."""
        width, depth, heads = VIT_SHAPES[self.arch]
        if self.width is not None:
            width, heads = self.width, max(1, self.width // 64)
        return width, self.depth or depth, self.heads or heads


@dataclass(frozen=True, kw_only=True)
class SmallAlexNet(EncoderSpec):
    """AlexNet for small images, with batch norm: five 3x3 convolutions, then two layers of 4,096.

    The representation is the second of them (fc7), after its ReLU.
    """

    any_size: ClassVar[bool] = False

    def num_parameters(self) -> int:
        return 23_000_000

    def out_width(self) -> int:
        return 4096


@dataclass(frozen=True, kw_only=True)
class RawPixels(EncoderSpec):
    """The flattened image as the representation: the baseline that every method must beat."""

    trainable: ClassVar[bool] = False
    any_size: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ColorHistogram(EncoderSpec):
    """A joint RGB histogram as the representation: what colour alone tells."""

    trainable: ClassVar[bool] = False
    any_size: ClassVar[bool] = False

    bins: int = 4

    def check(self) -> None:
        self.require(self.bins >= 1, "bins must be >= 1.")
