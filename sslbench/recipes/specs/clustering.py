"""Assignment of views to prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from sslbench.recipes.base import Spec
from sslbench.recipes.specs.objective import ObjectiveSpec, sharpened
from sslbench.recipes.specs.targets import MemoryBank, Shared

if TYPE_CHECKING:
    from sslbench.recipes.families.joint import JointRecipe


@dataclass(frozen=True, kw_only=True)
class Sinkhorn(Spec):
    """Online codes: scores over `epsilon`, balanced over the prototypes in a few iterations.

    With `queue`, that many past embeddings of each global view are balanced with the batch; it is
    filled from `queue_start_epoch` on, and used once full.
    """

    epsilon: float = 0.05
    iterations: int = 3
    queue: int | None = None
    queue_start_epoch: float = 15.0

    def check(self) -> None:
        self.require(self.epsilon > 0, "epsilon must be > 0.")
        self.require(self.iterations >= 1, "iterations must be >= 1.")
        self.require(self.queue is None or self.queue >= 1, "queue must be >= 1.")
        self.require(self.queue_start_epoch >= 0, "queue_start_epoch must be >= 0.")


@dataclass(frozen=True, kw_only=True)
class Centering(Spec):
    """Sharpened, centred scores: softmax((scores - centre) / temperature).

    The centre is a moving average of the batch mean with `momentum`. The temperature goes from
    `start_temperature` to its value over the first `warmup_epochs`.
    """

    temperature: float = 0.04
    start_temperature: float | None = None
    warmup_epochs: float = 0.0
    momentum: float = 0.9

    def check(self) -> None:
        temperatures = (self.temperature, self.start_temperature)
        self.require(
            all(t is None or t > 0 for t in temperatures),
            "the teacher's temperature and start_temperature must be > 0.",
        )
        self.require(self.warmup_epochs >= 0, "warmup_epochs must be >= 0.")
        self.require(0 <= self.momentum < 1, "momentum must lie in [0, 1).")


@dataclass(frozen=True, kw_only=True)
class KMeans(Spec):
    """Clusters of the last epoch's embeddings by spherical k-means; its centroids are the
    prototypes of the epoch."""

    iterations: int = 10

    def check(self) -> None:
        self.require(self.iterations >= 1, "iterations must be >= 1.")


@dataclass(frozen=True, kw_only=True)
class EpochSinkhorn(Spec):
    """Clusters of the last epoch's embeddings by Sinkhorn over all of them, with learned
    prototypes."""

    epsilon: float = 0.05
    iterations: int = 3

    def check(self) -> None:
        self.require(self.epsilon > 0, "epsilon must be > 0.")
        self.require(self.iterations >= 1, "iterations must be >= 1.")


Assignment = Sinkhorn | Centering | KMeans | EpochSinkhorn


@dataclass(frozen=True, kw_only=True)
class ClusterAssignment(ObjectiveSpec):
    """Predict a view's assignment to the prototypes from the other views.

    The target of a view is what `assignment` makes of its scores, without gradient; the
    prediction softmax(scores / `temperature`). `loss` "normalized_mse" compares the scores
    themselves instead, those of the target less their centre, as unit vectors (DINO's Table 7).
    """

    scores_prototypes: ClassVar[bool] = True

    temperature: float = 0.1
    assignment: Assignment = Sinkhorn()
    loss: Literal["cross_entropy", "normalized_mse"] = "cross_entropy"
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(
            self.loss == "cross_entropy" or isinstance(self.assignment, Centering),
            f"normalized_mse compares centred scores, not the codes of "
            f"{type(self.assignment).__name__}; set objective.assignment=Centering, or "
            "objective.loss=cross_entropy.",
        )

    @property
    def queue_lengths(self) -> dict[str, int]:
        queue = self.assignment.queue if isinstance(self.assignment, Sinkhorn) else None
        return {} if queue is None else {"assignment.queue": queue}

    def validate(self, recipe: JointRecipe) -> None:
        self.require(
            not isinstance(recipe.target, MemoryBank),
            "compares views with each other; set target to Shared or EMA.",
        )
        how = self.assignment
        if isinstance(how, Sinkhorn) and how.queue is not None:
            self.require(
                how.queue_start_epoch < recipe.epochs,
                f"the queue would start at epoch {how.queue_start_epoch:g}, after the last of "
                f"{recipe.epochs}; lower objective.assignment.queue_start_epoch, or set "
                "objective.assignment.queue=null.",
            )

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        how = self.assignment
        if not isinstance(how, Centering):
            return "The assignments do not tell images apart: the learning rate may be too high."
        if isinstance(recipe.target, Shared):
            return (
                "The teacher is the student itself, which centring alone does not hold apart; it "
                "needs target=EMA, or objective.assignment=Sinkhorn."
            )
        if self.loss == "normalized_mse":
            return (
                "Nothing sharpens a squared error: only the centre holds the images apart. Its "
                "momentum or the learning rate may be too high."
            )
        rest = "or the centre's momentum too high."
        return sharpened(how.temperature, self.temperature, rest)
