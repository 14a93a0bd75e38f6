"""What the online network is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec, later


@dataclass(frozen=True, kw_only=True)
class TargetSpec(Spec, interface=True):
    """What predictions are compared with. A kind is data: its implementation is the entry of the
    same type in `sslbench.methods.targets.TARGETS`."""


@dataclass(frozen=True, kw_only=True)
class Shared(TargetSpec):
    """The target is the online encoder and projector; the gradient stops there or flows."""

    stop_gradient: bool = True


@dataclass(frozen=True, kw_only=True)
class EMA(TargetSpec):
    """A moving average of the online encoder, projector and prototypes.

    The cosine schedule raises the momentum to 1. `evaluate`: the average, and not the online
    encoder, is what a run exports and every protocol scores (DINO).
    """

    momentum: float = 0.996
    schedule: Literal["constant", "cosine"] = "constant"
    evaluate: bool = later(False)

    def check(self) -> None:
        self.require(0 <= self.momentum <= 1, "momentum must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class ConstantRandom(TargetSpec):
    """A random network that is never updated."""


@dataclass(frozen=True, kw_only=True)
class MemoryBank(TargetSpec):
    """One unit vector for each training image: the target of any view of image i is row i.

    After a step row i becomes the unit vector along `momentum` * row + (1 - `momentum`) *
    projection of the first view. With it, one view of an image is enough.
    """

    momentum: float = 0.5

    def check(self) -> None:
        self.require(0 <= self.momentum < 1, "momentum must lie in [0, 1).")
