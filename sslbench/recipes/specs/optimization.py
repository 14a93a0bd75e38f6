"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec, later


@dataclass(frozen=True, kw_only=True)
class SGD(Spec):
    """SGD with momentum; weight decay on every parameter unless excluded.

    `clip_norm`, here and below, is the longest gradient that one parameter tensor may have.
    """

    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    exclude_bias_and_norm: bool = False
    scaling: Literal["linear", "sqrt", "none"] = "none"
    clip_norm: float | None = later(None)

    def check(self) -> None:
        _check_optimizer(self)
        self.require(not self.nesterov or self.momentum > 0, "nesterov needs a momentum > 0.")


@dataclass(frozen=True, kw_only=True)
class LARS(Spec):
    """LARS without Nesterov; one-dimensional parameters get plain momentum when excluded.

    `lr` is per 256 images under `linear` scaling; `bias_lr` is Barlow Twins' separate rate of
    biases and norms (None: the same rate).
    """

    lr: float = 0.3
    bias_lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-6
    trust_coefficient: float = 1e-3
    exclude_bias_and_norm: bool = True
    scaling: Literal["linear", "sqrt", "none"] = "linear"
    clip_norm: float | None = later(None)

    def check(self) -> None:
        _check_optimizer(self)
        self.require(self.trust_coefficient > 0, "trust_coefficient must be > 0.")


@dataclass(frozen=True, kw_only=True)
class AdamW(Spec):
    """AdamW; biases and norms are not decayed when excluded.

    `weight_decay_end` moves the decay there from `weight_decay`, along half a cosine over the run.
    With `clip_whole`, `clip_norm` is of all parameters' gradient together (BEiT, MaskFeat).
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    weight_decay_end: float | None = later(None)
    exclude_bias_and_norm: bool = True
    scaling: Literal["linear", "sqrt", "none"] = "none"
    clip_norm: float | None = later(None)
    clip_whole: bool = later(False)

    def check(self) -> None:
        _check_optimizer(self)
        self.require(self.weight_decay_end is None or self.weight_decay_end >= 0,
                     "weight_decay_end must be >= 0.")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LAMB(Spec):
    """Adam's step at LARS's trust ratio; biases and norms get neither ratio nor decay when
    excluded."""

    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-3
    exclude_bias_and_norm: bool = True
    scaling: Literal["linear", "sqrt", "none"] = "linear"

    def check(self) -> None:
        _check_optimizer(self)


def _check_optimizer(spec: SGD | LARS | AdamW | LAMB) -> None:
    spec.require(spec.lr > 0, "lr must be > 0.")
    spec.require(spec.weight_decay >= 0, "weight_decay must be >= 0.")
    for decay in getattr(spec, "betas", None) or (getattr(spec, "momentum", 0.0),):
        spec.require(0 <= decay < 1, "momentum and betas must lie in [0, 1).")
    clip_norm = getattr(spec, "clip_norm", None)
    spec.require(clip_norm is None or clip_norm > 0, "clip_norm must be > 0, or null.")


Optimizer = SGD | LARS | AdamW | LAMB


@dataclass(frozen=True, kw_only=True)
class Cosine(Spec):
    """Linear warm-up, then half a cosine to `floor` times the rate, per step or epoch.

    The warm-up starts at `warmup_start` times the rate.
    """

    warmup_epochs: float = 0.0
    warmup_start: float = later(0.0)
    floor: float = 0.0
    per: Literal["step", "epoch"] = "step"

    def check(self) -> None:
        self.require(0 <= self.warmup_start <= 1, "warmup_start is a share of the rate in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class Steps(Spec):
    """The rate times `factor` at each milestone, given as shares of the schedule."""

    milestones: tuple[float, ...] = (0.6, 0.8)
    factor: float = 0.1
    warmup_epochs: float = 0.0

    def check(self) -> None:
        self.require(all(0 < m < 1 for m in self.milestones), "milestones must lie in (0, 1).")


Schedule = Cosine | Steps
