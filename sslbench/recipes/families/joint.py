"""Joint embedding: what is compared, with what, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sslbench.recipes.base import later
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    MLP,
    BatchNorm,
    InfoNCE,
    MemoryBank,
    ObjectiveSpec,
    Projector,
    Prototypes,
    Shared,
    TargetSpec,
)


@dataclass(frozen=True, kw_only=True)
class JointRecipe(Recipe):
    """Views of an image meet in an embedding space: contrast, clusters, distillation, redundancy
    reduction, relations. SimCLR, BYOL and DINO differ in these fields, and in nothing else.

    `epochs=0` keeps the networks at their initialisation.
    """

    FORMER: ClassVar[Mapping[str, Any]] = {}

    projector: Projector | None = None
    predictor: MLP | None = None
    prototypes: Prototypes | None = later(None)
    target: TargetSpec = Shared()
    objective: ObjectiveSpec = InfoNCE()
    batch_norm: BatchNorm = BatchNorm()

    @property
    def vector_projector(self) -> Projector | None:
        return self.projector

    @property
    def vector_objective(self) -> ObjectiveSpec:
        return self.objective

    def validate(self) -> None:
        super().validate()
        for path, queue in self.objective.queue_lengths.items():
            require_queue(self, queue, f"objective.{path}")
        require_splits(self, self.batch_norm)
        self._validate_bank()
        self._validate_prototypes()
        self.objective.validate(self)

    def _validate_bank(self) -> None:
        bank, kind = isinstance(self.target, MemoryBank), type(self.objective).__name__
        self.require(
            bank or not self.objective.reads_bank,
            f"{kind} contrasts with a memory bank; set target=MemoryBank.",
        )
        self.require(
            not bank or not self.objective.queue_lengths or self.objective.scores_prototypes,
            f"{kind} cannot use a memory bank beside a queue; set objective.negatives to another "
            "choice and objective.queue=null, or target=EMA.",
        )
        self.require(
            bank or self.views.num_global == 2,
            f"{kind} compares two views; set views.num_global=2, or target=MemoryBank.",
        )
        self.require(
            self.views.num_global == 2 or not getattr(self.objective, "symmetric", False),
            "one view has no second direction; set objective.symmetric=false or "
            "views.num_global=2.",
        )

    def _validate_prototypes(self) -> None:
        scored, kind = self.objective.scores_prototypes, type(self.objective).__name__
        self.require(
            not scored or self.prototypes is not None,
            f"{kind} compares scores by prototypes; set prototypes=Prototypes.",
        )
        self.require(
            scored or self.prototypes is None,
            f"{kind} compares embeddings, not scores by prototypes; set prototypes=null.",
        )

    def num_head_parameters(self) -> int:
        total, width = 0, self.encoder.out_width()
        for head in (self.projector, self.predictor):
            if isinstance(head, MLP):
                total += head.num_parameters(width)
            if head is not None and head is self.projector:
                width = head.out or width
        if self.prototypes is not None:
            total += self.prototypes.count * self.prototypes.heads * width
        return total + width * sum(self.objective.queue_lengths.values())

    def cause(self, *, complete: bool) -> str:
        return self.objective.cause(self, complete=complete)

    @classmethod
    def is_former(cls, data: Mapping[str, Any]) -> bool:
        return bool(kind_of(data.get("objective")) != "CrossEntropy")


def require_queue(recipe: Recipe, queue: int, path: str) -> None:
    """Raise UserError unless whole batches fill a queue of that length."""
    batch = recipe.batch_size
    recipe.require(
        queue % batch == 0,
        f"the queue ({queue}) must be a multiple of the batch ({batch}); "
        f"try {path}={max(1, queue // batch) * batch}.",
    )


def require_splits(recipe: Recipe, batch_norm: BatchNorm) -> None:
    """Raise UserError unless batch norm's groups fit the batch."""
    splits = batch_norm.splits
    recipe.require(
        recipe.batch_size % splits == 0 and recipe.batch_size // splits >= 2,
        f"batch_size ({recipe.batch_size}) must split into {splits} equal groups of at least 2.",
    )


def kind_of(piece: Any) -> Any:
    """The kind that a piece of a printed recipe names."""
    return piece.get("kind") if isinstance(piece, Mapping) else piece
