"""The recipe: everything that decides what is trained, and nothing about how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.recipes.base import Spec
from sslbench.recipes.specs import (
    MLP,
    SGD,
    BatchNorm,
    ColorHistogram,
    Cosine,
    CrossEntropy,
    Data,
    InfoNCE,
    NarrowResNet,
    Objective,
    Optimizer,
    RawPixels,
    ResNet,
    Schedule,
    Shapes,
    Shared,
    Target,
    Views,
    ViT,
)

Encoder = ResNet | NarrowResNet | ViT | RawPixels | ColorHistogram


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec):
    """A point in the design space. `name` and the two notes do not enter the digest.

    `epochs=0` keeps the encoder at its initialisation (the untrained and raw-pixel rows).
    `batch_size` counts images over all processes; `accumulate` averages gradients over that many
    batches before one update (BYOL's batch-size sweep).
    """

    DIGEST_SKIPS: ClassVar[frozenset[str]] = frozenset({"name", "source", "departures"})

    name: str
    source: str
    departures: tuple[str, ...] = ()
    views: Views = Views()
    encoder: Encoder = ResNet()
    projector: MLP | None = None
    predictor: MLP | None = None
    target: Target = Shared()
    objective: Objective = InfoNCE()
    batch_norm: BatchNorm = BatchNorm()
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    epochs: int = 100
    batch_size: int = 256
    accumulate: int = 1

    def check(self) -> None:
        self.require(self.epochs >= 0, "epochs must be >= 0.")
        self.require(self.batch_size >= 2, "batch_size must be >= 2.")
        self.require(self.accumulate >= 1, "accumulate must be >= 1.")

    def validate(self) -> None:
        """Rules across pieces, checked when a recipe becomes an experiment (so that several
        changes can be made one after the other). Raises UserError."""
        queue = getattr(self.objective, "queue", None)
        self.require(
            queue is None or queue % self.batch_size == 0,
            f"the queue ({queue}) must be a multiple of the batch ({self.batch_size}); "
            f"try objective.queue={max(1, (queue or 0) // self.batch_size) * self.batch_size}.",
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
        trainable = not isinstance(self.encoder, RawPixels | ColorHistogram)
        self.require(
            trainable or self.epochs == 0,
            f"{type(self.encoder).__name__} has nothing to train; set epochs=0.",
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
        self.recipe.validate()
