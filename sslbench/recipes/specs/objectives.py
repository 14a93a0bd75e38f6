"""The losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec


@dataclass(frozen=True, kw_only=True)
class InfoNCE(Spec):
    """Contrast one positive with negatives; NT-Xent is `both_views` without a target network.

    `negatives`: `both_views` = the other view of every image and the same view of every other
    image; `other_view` = the other view of every image; `queue` = the memory only.
    `negative_weight` is BYOL's beta on the log-sum-exp term; `scale` multiplies the loss
    (BYOL's form is scaled by 2 * temperature).
    """

    temperature: float = 0.1
    negatives: Literal["both_views", "other_view", "queue"] = "both_views"
    queue: int | None = None
    symmetric: bool = True
    normalize: bool = True
    negative_weight: float = 1.0
    scale: float = 1.0

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.scale > 0, "scale must be > 0.")
        self.require(self.negative_weight >= 0, "negative_weight must be >= 0.")
        has_queue = self.queue is not None
        self.require(has_queue == (self.negatives == "queue"),
                     "queue needs a length exactly when negatives is 'queue'.")  # fmt: skip
        self.require(self.queue is None or self.queue >= 1, "queue must be >= 1.")


@dataclass(frozen=True, kw_only=True)
class NegativeCosine(Spec):
    """-cos(online, target) averaged over both directions, times `scale`.

    SimSiam: scale 1. BYOL: 4, its squared distances 4 - 2cos - 2cos less the constant.
    """

    scale: float = 1.0
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.scale > 0, "scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class CrossCorrelation(Spec):
    """Barlow Twins and the variants of its Table 5.

    `form`: `correlation` (batch-standardised), `feature_norm` (also l2 over features,
    covariance), `covariance` (centred only), `cross_entropy` (with `temperature`).
    """

    off_diagonal_weight: float = 5e-3
    on_diagonal_weight: float = 1.0
    form: Literal["correlation", "feature_norm", "covariance", "cross_entropy"] = "correlation"
    temperature: float = 1.0
    scale: float = 1.0

    def check(self) -> None:
        self.require(self.off_diagonal_weight >= 0, "off_diagonal_weight must be >= 0.")
        self.require(self.on_diagonal_weight >= 0, "on_diagonal_weight must be >= 0.")
        self.require(self.temperature > 0 and self.scale > 0, "temperature, scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Spec):
    """Supervised: a linear classifier over the data's classes, on the first view."""

    label_smoothing: float = 0.0


Objective = InfoNCE | NegativeCosine | CrossCorrelation | CrossEntropy
