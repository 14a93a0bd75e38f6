"""The recipe: everything that decides what is trained, and nothing about how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.errors import did_you_mean
from sslbench.recipes.base import Spec
from sslbench.recipes.limits import require_limits, require_parameters
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import (
    MLP,
    SGD,
    BatchNorm,
    ClusterAssignment,
    ColorHistogram,
    Cosine,
    CrossEntropy,
    Data,
    InfoNCE,
    MemoryBank,
    NarrowResNet,
    NoiseContrastive,
    Objective,
    Optimizer,
    Projector,
    Prototypes,
    RawPixels,
    ResNet,
    Schedule,
    Shapes,
    Shared,
    SimpleContrast,
    Sinkhorn,
    SmallAlexNet,
    Target,
    Views,
    ViT,
)
from sslbench.typed import require_name

Encoder = ResNet | NarrowResNet | ViT | SmallAlexNet | RawPixels | ColorHistogram


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec):
    """A point in the design space. `name` and the two notes do not enter the digest.

    `epochs=0` keeps the encoder at its initialisation (the untrained and raw-pixel rows).
    `batch_size` counts images over all processes; `accumulate` averages gradients over that many
    batches before one update (BYOL's batch-size sweep).
    """

    DIGEST_SKIPS: ClassVar[frozenset[str]] = frozenset({"name", "source", "departures"})
    DIGEST_SKIPS_DEFAULT: ClassVar[frozenset[str]] = frozenset({"prototypes"})

    name: str
    source: str
    departures: tuple[str, ...] = ()
    views: Views = Views()
    encoder: Encoder = ResNet()
    projector: Projector | None = None
    predictor: MLP | None = None
    prototypes: Prototypes | None = None
    target: Target = Shared()
    objective: Objective = InfoNCE()
    batch_norm: BatchNorm = BatchNorm()
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    epochs: int = 100
    batch_size: int = 256
    accumulate: int = 1

    def check(self) -> None:
        require_name(self.name, "name")
        self.require(self.epochs >= 0, "epochs must be >= 0.")
        self.require(self.batch_size >= 2, "batch_size must be >= 2.")
        self.require(self.accumulate >= 1, "accumulate must be >= 1.")

    def validate(self) -> None:
        """Rules across pieces, checked when a recipe becomes an experiment (so that several
        changes can be made one after the other). Raises UserError."""
        for field, spec in (
            ("objective.queue", self.objective),
            ("objective.assignment.queue", getattr(self.objective, "assignment", None)),
        ):
            queue = getattr(spec, "queue", None)
            self.require(
                queue is None or queue % self.batch_size == 0,
                f"the queue ({queue}) must be a multiple of the batch ({self.batch_size}); "
                f"try {field}={max(1, (queue or 0) // self.batch_size) * self.batch_size}.",
            )
        if isinstance(self.objective, InfoNCE) and self.objective.ring is not None:
            num_negatives = self.objective.num_negatives(self.batch_size)
            if num_negatives is not None:  # a memory bank's is known with the data
                self.objective.ring.require_entries(num_negatives)
        splits = self.batch_norm.splits
        self.require(
            self.batch_size % splits == 0 and self.batch_size // splits >= 2,
            f"batch_size ({self.batch_size}) must split into {splits} equal groups of at least 2.",
        )
        supervised = isinstance(self.objective, CrossEntropy)
        self.require(
            not supervised or (self.predictor is None and self.projector is None),
            "a supervised recipe has neither projector nor predictor; set them to null.",
        )
        self._validate_bank(supervised=supervised)
        if isinstance(self.encoder, ViT):
            self.encoder.require_shape()
        if self.epochs > 0:
            self._validate_sizes()
        self._validate_prototypes()
        self._validate_stored()
        trainable = not isinstance(self.encoder, RawPixels | ColorHistogram)
        self.require(
            trainable or self.epochs == 0,
            f"{type(self.encoder).__name__} has nothing to train; set epochs=0.",
        )

    def _validate_sizes(self) -> None:
        """Whether the encoder takes views of the sizes that are asked for."""
        encoder = self.encoder
        for name in ("first", "second", "local") if self.views.num_local else ("first", "second"):
            view = getattr(self.views, name)
            size = None if view is None else view.size
            if size is None:
                continue
            self.require(
                not isinstance(encoder, SmallAlexNet | RawPixels | ColorHistogram),
                f"{type(encoder).__name__} takes images of one size; set views.{name}.size=null"
                + (", or views.num_local=0." if name == "local" else "."),
            )
            if isinstance(encoder, ViT):
                near = max(1, round(size / encoder.patch)) * encoder.patch
                self.require(
                    size % encoder.patch == 0,
                    f"the encoder's patch of {encoder.patch} does not divide a view of {size} "
                    f"pixels; try views.{name}.size={near}, or another encoder.patch.",
                )

    def _validate_prototypes(self) -> None:
        clusters, kind = (
            isinstance(self.objective, ClusterAssignment),
            type(self.objective).__name__,
        )
        self.require(
            not clusters or self.prototypes is not None,
            f"{kind} compares scores by prototypes; set prototypes=Prototypes.",
        )
        self.require(
            clusters or self.prototypes is None,
            f"{kind} compares embeddings, not scores by prototypes; set prototypes=null.",
        )
        self.require(
            not clusters or not isinstance(self.target, MemoryBank),
            f"{kind} compares views with each other; set target to Shared or EMA.",
        )

    def _validate_stored(self) -> None:
        how = getattr(self.objective, "assignment", None)
        if isinstance(how, Sinkhorn) and how.queue is not None:
            self.require(
                how.queue_start_epoch < self.epochs,
                f"the queue would start at epoch {how.queue_start_epoch:g}, after the last of "
                f"{self.epochs}; lower objective.assignment.queue_start_epoch, or set "
                "objective.assignment.queue=null.",
            )

    def _validate_bank(self, *, supervised: bool) -> None:
        bank, kind = isinstance(self.target, MemoryBank), type(self.objective).__name__
        self.require(
            bank or not _reads_bank(self.objective),
            f"{kind} contrasts with a memory bank; set target=MemoryBank.",
        )
        self.require(
            not bank or not (supervised or getattr(self.objective, "queue", None)),
            f"{kind} cannot use a memory bank"
            + ("; set target=Shared." if supervised else " beside a queue; set objective.negatives "
               "to another choice and objective.queue=null, or target=EMA."),
        )  # fmt: skip
        one_view = self.views.num_global == 1 and not supervised
        self.require(
            not one_view or bank,
            f"{kind} compares two views; set views.num_global=2, or target=MemoryBank.",
        )
        self.require(
            not one_view or not getattr(self.objective, "symmetric", False),
            "one view has no second direction; set objective.symmetric=false or "
            "views.num_global=2.",
        )


def _reads_bank(objective: Objective) -> bool:
    """Whether the loss contrasts with a memory bank."""
    return isinstance(objective, SimpleContrast | NoiseContrastive) or (
        isinstance(objective, InfoNCE) and objective.negatives == "bank"
    )


@dataclass(frozen=True, kw_only=True)
class Experiment(Spec):
    """A recipe on data with a seed: one run. Its digest, with the fingerprint of the data,
    names the run folder."""

    recipe: Recipe
    data: Data = Shapes()
    seed: int = 0
    scale: str = "laptop"

    DIGEST_SKIPS: ClassVar[frozenset[str]] = frozenset({"scale"})

    def check(self) -> None:
        self.require(self.seed >= 0, "seed must be >= 0.")
        known = (*SCALES, "external")  # an encoder of another library is of no scale
        hint = did_you_mean(self.scale, known)
        self.require(self.scale in known, f"no scale '{self.scale}'{hint}")
        require_limits(list(self.leaves()))
        require_parameters(self.recipe)
        self.recipe.validate()
        if isinstance(self.recipe.encoder, ViT) and self.data.resolution is not None:
            self.recipe.encoder.require_fit(self.data.resolution)
