"""Regions: which boxes of an image two views are compared in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec


@dataclass(frozen=True, kw_only=True)
class RegionConsistency(Spec):
    """BYOL's loss on boxes that both views show: -`scale` times the mean cosine of matched boxes,
    over both directions.

    `boxes` "random": `count` boxes in the overlap of the two crops, of a share of its area in
    `area` and an aspect ratio, width over height, in `ratio`. "objects": at most `count` of the
    boxes that annotators drew, which makes the recipe an oracle. A box is read from the encoder's
    last map as `output`×`output` values by RoIAlign, which are averaged.

    Source: Wei et al. 2021 (SoCo), arXiv:2106.02637, Sec. 3.2.
    """

    boxes: Literal["random", "objects"] = "random"
    count: int = 4
    area: tuple[float, float] = (0.04, 0.5)
    ratio: tuple[float, float] = (0.5, 2.0)
    output: int = 7
    scale: float = 4.0

    def check(self) -> None:
        self.require(1 <= self.count <= 1000, "count must lie in 1 to 1000.")
        self.require(0 < self.area[0] <= self.area[1] <= 1, "area needs 0 < low <= high <= 1.")
        self.require(0 < self.ratio[0] <= self.ratio[1], "ratio needs 0 < low <= high.")
        self.require(1 <= self.output <= 64, "output must lie in 1 to 64.")
        self.require(self.scale > 0, "scale must be > 0.")
