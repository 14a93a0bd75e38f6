"""Losses that tell images apart: softmaxes, bank and noise, and how negatives are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sslbench.recipes.base import Spec, later
from sslbench.recipes.specs.objective import ObjectiveSpec, apart, constant

if TYPE_CHECKING:
    from sslbench.recipes.families.joint import JointRecipe


@dataclass(frozen=True, kw_only=True)
class Ring(Spec):
    """Which negatives count: those between two quantiles of similarity to the anchor.

    The nearest `outer` share of the negatives forms a ball; of the ball its nearest `inner` share
    is dropped. `anneal` narrows the ball from all negatives to `outer` over the first
    `anneal_share` of training: `linear`, `exponential` (a constant ratio) or `step` (ten equal
    steps).
    """

    outer: float = 0.1
    inner: float = 0.0
    anneal: Literal["none", "linear", "step", "exponential"] = "none"
    anneal_share: float = 0.5

    def check(self) -> None:
        self.require(0 < self.outer <= 1, "outer is a share of the negatives in (0, 1].")
        self.require(0 <= self.inner < 1, "inner is a share of the nearest in [0, 1).")
        self.require(0 < self.anneal_share <= 1, "anneal_share lies in (0, 1].")

    def counts(self, num_negatives: int, *, progress: float = 1.0) -> tuple[int, int]:
        """(ball, dropped): the ring is entries `dropped` to `ball` by falling similarity.

        Args:
            num_negatives: of one anchor.
            progress: share of the training steps already done.
        """
        ball = round(self.outer_at(progress) * num_negatives)
        return ball, round(self.inner * ball)

    def outer_at(self, progress: float) -> float:
        """The ball's share of the negatives, which narrows to `outer`."""
        done = min(1.0, progress / self.anneal_share)
        if self.anneal == "linear":
            return 1 - (1 - self.outer) * done
        if self.anneal == "step":
            return 1 - (1 - self.outer) * math.floor(10 * done) / 10
        if self.anneal == "exponential":
            return float(self.outer**done)
        return self.outer

    def require_entries(self, num_negatives: int) -> None:
        """Raises UserError where the ring of so many negatives holds none."""
        ball, dropped = self.counts(num_negatives)
        self.require(
            dropped < ball,
            f"the ring is empty: outer {self.outer:g} of {num_negatives} negatives is {ball}, "
            f"inner {self.inner:g} drops {dropped}; raise outer, lower inner or take more "
            "negatives.",
        )


@dataclass(frozen=True, kw_only=True)
class FeatureTransformation(Spec):
    """Harder positives and more varied negatives, by mixing unit embeddings (FT).

    `positive_alpha`: query and key are extrapolated away from each other by 1 + Beta(alpha,
    alpha). `negative_alpha`: the queue is mixed with its own permutation by Beta(alpha, alpha).
    None leaves that side as it is. `per`: one such factor a side for the whole `step` (one for
    each direction of a symmetric loss), or one for each `dimension` of each row.
    """

    positive_alpha: float | None = 2.0
    negative_alpha: float | None = 1.6
    per: Literal["step", "dimension"] = "step"

    def check(self) -> None:
        alphas = [a for a in (self.positive_alpha, self.negative_alpha) if a is not None]
        self.require(len(alphas) > 0, "give positive_alpha or negative_alpha; for neither, set "
                     "transform to null.")  # fmt: skip
        self.require(all(a > 0 for a in alphas), "positive_alpha and negative_alpha must be > 0.")


@dataclass(frozen=True, kw_only=True)
class InfoNCE(ObjectiveSpec):
    """Contrast one positive with negatives; NT-Xent is `both_views` without a target network.

    `negatives`: `both_views` = the other view of every image and the same view of every other
    image; `other_view` = the other view of every image; `queue` = the memory only; `bank` = the
    memory bank's rows of all other images, the image's own row being the positive.
    `negative_weight` is BYOL's beta on the log-sum-exp term; `scale` multiplies the loss
    (BYOL's form is scaled by 2 * temperature).

    `transform` mixes features, `ring` chooses among the negatives, `hardness` weighs them by
    exp(hardness * similarity / temperature) (HCL's beta), `class_prior` subtracts the expected
    share of the anchor's own class (debiased, tau+). `positive_in_denominator` false is DCL, and
    with `positive_sigma` DCLW: the positive term of pair i is weighted by
    2 - N * softmax_i(similarity / positive_sigma).
    """

    temperature: float = 0.1
    negatives: Literal["both_views", "other_view", "queue", "bank"] = "both_views"
    queue: int | None = None
    symmetric: bool = True
    normalize: bool = True
    negative_weight: float = 1.0
    scale: float = 1.0
    positive_in_denominator: bool = later(True)
    positive_sigma: float | None = later(None)
    class_prior: float = later(0.0)
    hardness: float = later(0.0)
    ring: Ring | None = later(None)
    transform: FeatureTransformation | None = later(None)

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.scale > 0, "scale must be > 0.")
        self.require(self.negative_weight >= 0, "negative_weight must be >= 0.")
        has_queue = self.queue is not None
        self.require(has_queue == (self.negatives == "queue"),
                     "queue needs a length exactly when negatives is 'queue'.")  # fmt: skip
        self.require(self.queue is None or self.queue >= 1, "queue must be >= 1.")
        self.require(self.positive_sigma is None or self.positive_sigma > 0,
                     "positive_sigma must be > 0.")  # fmt: skip
        self.require(0 <= self.class_prior < 1, "class_prior lies in [0, 1).")
        self.require(self.class_prior == 0 or self.normalize,
                     "class_prior needs normalize: its lower bound is that of unit "
                     "vectors.")  # fmt: skip
        self.require(self.hardness >= 0, "hardness must be >= 0.")
        self.require(self.transform is None or has_queue,
                     "transform mixes the queue; set negatives to 'queue'.")  # fmt: skip

    def num_negatives(self, batch_size: int) -> int | None:
        """Negatives of one anchor in a global batch; None for a memory bank, as long as the data.

        They are counted before `ring` chooses among them.
        """
        if self.negatives == "both_views":
            return 2 * batch_size - 2
        return batch_size - 1 if self.negatives == "other_view" else self.queue

    @property
    def reads_bank(self) -> bool:
        return self.negatives == "bank"

    @property
    def queue_lengths(self) -> dict[str, int]:
        return {} if self.queue is None else {"queue": self.queue}

    def validate(self, recipe: JointRecipe) -> None:
        count = self.num_negatives(recipe.batch_size)
        if self.ring is not None and count is not None:  # a memory bank's is known with the data
            self.ring.require_entries(count)

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        if self.negative_weight == 0:
            return constant(recipe)
        return apart(f"temperature {self.temperature:g}", complete=complete)


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Spec):
    """LooC: InfoNCE with a queue in each of several spaces, averaged over them.

    Space 0 tells images apart whatever was done to them. Space i is also to tell the key that
    shares augmentation i with the query (`views.shared`) from the image's other keys.
    """

    temperature: float = 0.2
    queue: int = 65536

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.queue >= 1, "queue must be >= 1.")

    def cause(self, *, complete: bool) -> str:
        """Why embeddings may have collapsed, as a sentence; see `ObjectiveSpec.cause`."""
        return apart(f"temperature {self.temperature:g}", complete=complete)


@dataclass(frozen=True, kw_only=True)
class SimpleContrast(ObjectiveSpec):
    """-s_ii + weight * mean_j s_ij over the memory bank, times `scale`: no hardness at all.

    With `ring` the mean is over the chosen entries and the image's own (the hard simple loss).
    """

    weight: float = 1.0
    ring: Ring | None = None
    scale: float = 1.0
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.weight >= 0, "weight must be >= 0.")
        self.require(self.scale > 0, "scale must be > 0.")

    @property
    def reads_bank(self) -> bool:
        return True

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        if self.weight == 0:
            return constant(recipe)
        return (
            "The simple loss pushes all of the memory bank away alike, so near images need not "
            "part; give it a ring, or use InfoNCE."
        )


@dataclass(frozen=True, kw_only=True)
class NoiseContrastive(ObjectiveSpec):
    """NPID: tell an image's row of the memory bank from `num_negatives` rows drawn at random.

    A binary decision on each row, by the softmax over the bank whose normalising constant is
    estimated from the first batch and fixed. `symmetric`: the second view is an anchor too.
    """

    temperature: float = 0.07
    num_negatives: int = 4096
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.num_negatives >= 1, "num_negatives must be >= 1.")

    @property
    def reads_bank(self) -> bool:
        return True

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        return apart(f"temperature {self.temperature:g}", complete=complete)
