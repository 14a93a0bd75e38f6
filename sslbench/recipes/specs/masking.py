"""Masked image modelling: what is hidden, who fills it in, and what is to be filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.recipes.base import Spec


@dataclass(frozen=True, kw_only=True)
class Mask(Spec):
    """Which patches of an image are hidden; drawn for each image.

    `random` patches, BEiT's rectangular `block`s, or a `grid` that leaves one of each 2x2. Of L
    units floor(L (1 - ratio)) stay visible, the same number in every image; a unit is a square of
    `unit` pixels, or one patch. `in_encoder`: a learned token stands in the encoder for each
    hidden patch; otherwise the encoder gets the visible ones alone.

    Source: He et al. 2021 (MAE), Sec. 3; blocks: Bao et al. 2021 (BEiT), Algorithm 1; units: Xie
    et al. 2021 (SimMIM), Sec. 3.2.
    """

    sampling: Literal["random", "block", "grid"] = "random"
    ratio: float = 0.75
    unit: int | None = None
    in_encoder: bool = False

    def check(self) -> None:
        self.require(0 < self.ratio < 1, f"mask.ratio {self.ratio:g} must lie between 0 and 1.")
        self.require(self.unit is None or self.unit >= 1, "mask.unit is a side in pixels, >= 1.")
        self.require(
            self.sampling != "grid" or self.ratio == 0.75,
            f"a grid hides three of each four patches, not {self.ratio:g}; set mask.ratio=0.75, or "
            "mask.sampling=random.",
        )

    def num_units(self, size: int, *, patch: int) -> int:
        """A side of an image of `size` pixels in units."""
        return size // (self.unit or patch)

    def num_visible(self, size: int, *, patch: int) -> int:
        """Patches of an image of `size` pixels that stay visible."""
        visible = math.floor(self.num_units(size, patch=patch) ** 2 * (1 - self.ratio) + 1e-6)
        return visible * ((self.unit or patch) // patch) ** 2

    def smallest_block(self, num_units: int) -> int:
        """Units that a block has at least: BEiT's 16 of 196."""
        return max(1, round(16 / 196 * num_units))

    def require_fit(self, size: int, *, patch: int) -> None:
        """Raise UserError unless images of `size` pixels keep both visible and hidden patches."""
        unit = self.unit or patch
        self.require(size % unit == 0,
                     f"mask.unit of {unit} pixels does not divide a view of {size}; set "
                     f"mask.unit={patch}.")  # fmt: skip
        side = self.num_units(size, patch=patch)
        self.require(self.sampling != "grid" or side % 2 == 0,
                     f"a grid needs an even number of patches a side, and a view of {size} pixels "
                     f"has {side}; set encoder.patch, or mask.sampling=random.")  # fmt: skip
        hidden = side**2 - math.floor(side**2 * (1 - self.ratio) + 1e-6)
        self.require(0 < hidden < side**2,
                     f"mask.ratio {self.ratio:g} leaves {'none' if hidden else 'all'} of the "
                     f"{side**2} squares visible; set mask.ratio, or a smaller "
                     f"{'mask.unit' if unit > patch else 'encoder.patch'}.")  # fmt: skip
        least = self.smallest_block(side**2)
        self.require(self.sampling != "block" or least <= hidden,
                     f"a block has at least {least} of {side**2} patches and mask.ratio "
                     f"{self.ratio:g} hides {hidden}; raise mask.ratio, or set "
                     "mask.sampling=random.")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Decoder(Spec):
    """Transformer blocks of their own width over the tokens of all patches, positions added.

    Source: He et al. 2021 (MAE), Sec. 3, "MAE decoder".
    """

    width: int = 512
    depth: int = 8
    heads: int = 16

    def check(self) -> None:
        self.require(min(self.width, self.depth, self.heads) >= 1,
                     "width, depth and heads must be >= 1; without a decoder set "
                     "decoder=null.")  # fmt: skip

    def require_shape(self) -> None:
        """Raise UserError unless heads and positions fit the width, which may be set one by one."""
        self.require(self.width % self.heads == 0,
                     f"{self.heads} heads do not divide a width of {self.width}; set "
                     "decoder.heads or decoder.width.")  # fmt: skip
        self.require(self.width % 4 == 0,
                     f"sin-cos positions need a width that 4 divides, not {self.width}; set "
                     "decoder.width.")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PatchTarget(Spec, interface=True):
    """What a hidden patch is to be predicted as. A kind is data: its implementation is the entry
    of the same type in `sslbench.objectives.reconstruction.TARGETS`.

    `is_picture`: pixels can be made of a prediction again.
    """

    is_picture: ClassVar[bool] = True

    @property
    def is_class(self) -> bool:
        """Whether it is one of several entries, predicted by cross-entropy, and not numbers."""
        return False

    def num_outputs(self, patch: int) -> int:
        """Numbers that are predicted of a patch of that side in pixels; of a class, its logits."""
        return 3 * patch**2

    def require_patch(self, patch: int) -> None:
        """Raise UserError unless it is defined for patches of that side, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Pixels(PatchTarget):
    """The patch's normalised pixels; with `normalize` less their mean, over their deviation, of
    each patch.

    Source: He et al. 2021 (MAE), Sec. 3, "Reconstruction target".
    """

    normalize: bool = False

    def require_patch(self, patch: int) -> None:
        self.require(
            patch > 1 or not self.normalize,
            "a patch of one pixel has no spread; set objective.target.normalize=false.",
        )


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(PatchTarget):
    """The coefficients of the patch's first principal components, fitted to at most `patches`
    patches before the first epoch.

    Source: He et al. 2021 (MAE), Table 1 (d): 96 of 768.
    """

    components: int = 96
    patches: int = 100_000

    def check(self) -> None:
        self.require(self.components >= 1, "components must be >= 1.")
        self.require(
            self.patches > self.components,
            f"{self.components} components need more than {self.patches} patches; raise "
            "objective.target.patches.",
        )

    def num_outputs(self, patch: int) -> int:
        return self.components

    def require_patch(self, patch: int) -> None:
        most = 3 * patch**2
        self.require(
            self.components <= most,
            f"a patch of {patch} pixels has {most} numbers, so at most {most} components; set "
            "objective.target.components.",
        )


@dataclass(frozen=True, kw_only=True)
class Codebook(PatchTarget):
    """The nearest of `size` centres of patches, by k-means on at most `patches` patches before the
    first epoch; `normalize` as of `Pixels`.

    It needs no download, where BEiT and MAE take the tokens of a discrete VAE. Source: Du et al.
    2023 (ClusterMIM), arXiv:2407.09087, Sec. 4.
    """

    size: int = 512
    normalize: bool = False
    iterations: int = 20
    patches: int = 100_000

    @property
    def is_class(self) -> bool:
        return True

    def num_outputs(self, patch: int) -> int:
        return self.size

    def check(self) -> None:
        self.require(self.size >= 2, "size must be >= 2.")
        self.require(self.iterations >= 1, "iterations must be >= 1.")
        self.require(
            self.patches >= self.size,
            f"{self.patches} patches cannot have {self.size} centres; lower objective.target.size.",
        )

    def require_patch(self, patch: int) -> None:
        Pixels(normalize=self.normalize).require_patch(patch)


@dataclass(frozen=True, kw_only=True)
class HOG(PatchTarget):
    """Histograms of oriented gradients, of each channel and cell of `cell` pixels.

    Source: Wei et al. 2021 (MaskFeat), arXiv:2112.09133, Sec. 3.2; Dalal and Triggs 2005.
    """

    is_picture: ClassVar[bool] = False

    bins: int = 9
    cell: int = 8

    def check(self) -> None:
        self.require(self.bins >= 1 and self.cell >= 1, "bins and cell must be >= 1.")

    def num_outputs(self, patch: int) -> int:
        return 3 * self.bins * (patch // self.cell) ** 2

    def require_patch(self, patch: int) -> None:
        self.require(
            patch % self.cell == 0,
            f"cells of {self.cell} pixels do not divide a patch of {patch}; set "
            f"objective.target.cell={patch}.",
        )


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Spec):
    """The hidden patches' targets, predicted; a mean over hidden patches.

    `loss` is of numbers: squared (`mse`) or absolute (`l1`) differences. Of a codebook's entry it
    is the cross-entropy, whatever `loss` says, which stays `mse`.
    """

    target: PatchTarget = Pixels()
    loss: Literal["mse", "l1"] = "mse"

    def require_loss(self) -> None:
        """Raise UserError where the loss is of something else than the target."""
        self.require(
            not self.target.is_class or self.loss == "mse",
            "a codebook's entries are told apart by cross-entropy, not by l1; set "
            "objective.loss=mse.",
        )
