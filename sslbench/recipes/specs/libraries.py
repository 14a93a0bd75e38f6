"""Encoders of installed libraries, by the names that they have there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sslbench.recipes.specs.encoders import EncoderSpec


@dataclass(frozen=True, kw_only=True)
class LibraryEncoder(EncoderSpec, interface=True):
    """A library's network without classifier, at a random start: trained weights are never
    loaded, the seed decides.

    Which names there are, how wide a network is and which images it takes is asked of the library
    where the network is built (`sslbench.models.libraries`); a recipe is read without it.
    """

    name: str

    def check(self) -> None:
        self.require(
            re.fullmatch(r"\w+", self.name, re.ASCII) is not None,
            f"'{self.name}' is no network's name; say it alone, as in name=resnet26: what follows "
            "a dot or a colon names trained weights, and none are loaded.",
        )


@dataclass(frozen=True, kw_only=True)
class Timm(LibraryEncoder):
    """A network of timm. It is built for images of the data's size where it asks for one; None
    leaves the other options as timm has them.

    Attributes:
        patch: side of the patches or of the first stride, of networks that have one.
        output_stride: pixels of the image to one of the last map, which a convolutional network
            keeps by dilation; timm's are made for 224 pixels, and most have 32.
        pool: how positions become one row: avg, max, token, ..., as the network allows.
        drop_path: rate of the last block's stochastic depth.
    """

    patch: int | None = None
    output_stride: int | None = None
    pool: str | None = None
    drop_path: float | None = None

    def check(self) -> None:
        super().check()
        self.require(all(size is None or size >= 1 for size in (self.patch, self.output_stride)),
                     "patch and output_stride must be >= 1.")  # fmt: skip
        self.require(
            self.drop_path is None or 0 <= self.drop_path < 1, "drop_path must lie in [0, 1)."
        )


@dataclass(frozen=True, kw_only=True)
class Torchvision(LibraryEncoder):
    """A classification network of torchvision: what its last layer, the classifier, reads,
    without the dropout before it."""
