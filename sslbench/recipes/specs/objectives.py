"""Losses of two views without a softmax over images, and supervision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sslbench.recipes.base import Spec
from sslbench.recipes.specs.objective import ObjectiveSpec, apart, constant, sharpened

if TYPE_CHECKING:
    from sslbench.recipes.families.joint import JointRecipe


@dataclass(frozen=True, kw_only=True)
class AlignUniform(ObjectiveSpec):
    """Views of an image close, images spread over the sphere, each as a term of its own.

    `align_weight` * mean |z - z'|^`align_power` + `uniform_weight` * log mean
    exp(-`uniform_scale` * |z_i - z_j|^2). `negatives`: `batch` = all pairs of images of a view;
    `queue` = these, and every image with every entry of the queue.
    """

    align_weight: float = 1.0
    uniform_weight: float = 1.0
    align_power: float = 2.0
    uniform_scale: float = 2.0
    negatives: Literal["batch", "queue"] = "batch"
    queue: int | None = None
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.align_weight >= 0 and self.uniform_weight >= 0,
                     "align_weight and uniform_weight must be >= 0.")  # fmt: skip
        self.require(self.align_power >= 1,
                     "align_power must be >= 1, for a finite gradient at equal views.")  # fmt: skip
        self.require(self.uniform_scale > 0, "uniform_scale must be > 0.")
        self.require((self.queue is not None) == (self.negatives == "queue"),
                     "queue needs a length exactly when negatives is 'queue'.")  # fmt: skip
        self.require(self.queue is None or self.queue >= 1, "queue must be >= 1.")

    @property
    def queue_lengths(self) -> dict[str, int]:
        return {} if self.queue is None else {"queue": self.queue}

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        if self.uniform_weight == 0:
            return constant(recipe)
        return apart(f"uniform_weight {self.uniform_weight:g}", complete=complete)


@dataclass(frozen=True, kw_only=True)
class NegativeCosine(ObjectiveSpec):
    """-cos(online, target) averaged over both directions, times `scale`.

    SimSiam: scale 1. BYOL: 4, its squared distances 4 - 2cos - 2cos less the constant.
    """

    scale: float = 1.0
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.scale > 0, "scale must be > 0.")

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        return constant(recipe)


@dataclass(frozen=True, kw_only=True)
class Relational(ObjectiveSpec):
    """ReSSL: predict how the target's view relates to past images, a queue of its projections.

    Relations are softmaxes of similarities to the queue over `temperature`, and over the sharper
    `teacher_temperature` on the target's side. The first view is the student's, the second the
    teacher's; `symmetric` exchanges them too.
    """

    temperature: float = 0.1
    teacher_temperature: float = 0.04
    queue: int = 131072
    symmetric: bool = False

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.teacher_temperature > 0,
                     "teacher_temperature must be > 0; towards 0 the teacher's softmax becomes "
                     "its largest entry, so use a small one such as 0.01.")  # fmt: skip
        self.require(self.queue >= 1, "queue must be >= 1.")

    @property
    def queue_lengths(self) -> dict[str, int]:
        return {"queue": self.queue}

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        return sharpened(self.teacher_temperature, self.temperature, "or the queue too short.")


@dataclass(frozen=True, kw_only=True)
class CrossCorrelation(ObjectiveSpec):
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

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        if self.off_diagonal_weight == 0:
            return (
                "The redundancy term is off (off_diagonal_weight 0), so all dimensions may "
                "carry the same thing."
            )
        return "The learning rate may be too high, or off_diagonal_weight too small for this width."


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Spec):
    """Supervised: a linear classifier over the data's classes, a mean over views."""

    label_smoothing: float = 0.0
