"""Dense learning: what is compared are the cells of two views' maps."""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.recipes.families.joint import require_splits
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    EMA,
    MLP,
    BatchNorm,
    DenseObjectiveSpec,
    InstanceBranch,
    MapHead,
    ObjectiveSpec,
    PixelConsistency,
    PixelPropagation,
)


@dataclass(frozen=True, kw_only=True)
class DenseRecipe(Recipe):
    """The cells of the last map, projected one by one, meet those of a momentum target's map of the
    other view. PixPro, PixContrast and DenseCL differ in these fields, and in nothing else.

    `instance` is a loss on one vector an image beside it.
    """

    projector: MapHead = MapHead()
    predictor: PixelPropagation | None = None
    instance: InstanceBranch | None = None
    target: EMA = EMA()
    objective: DenseObjectiveSpec = PixelConsistency()
    batch_norm: BatchNorm = BatchNorm()

    @property
    def active_instance(self) -> InstanceBranch | None:
        """The instance branch, where it has a weight."""
        return self.instance if self.instance is not None and self.instance.weight > 0 else None

    @property
    def vector_projector(self) -> MLP | None:
        branch = self.active_instance
        return None if branch is None else branch.projector

    @property
    def vector_objective(self) -> ObjectiveSpec | None:
        branch = self.active_instance
        return None if branch is None else branch.objective

    def validate(self) -> None:
        super().validate()
        self.require(
            self.views.num_global == 2 and self.views.num_local == 0,
            "the maps of two views are compared; set views.num_global=2 and views.num_local=0.",
        )
        if self.objective.reads_positions:
            self._require_upright()
        for path, queue in self._queues().items():
            self.require(
                queue % self.batch_size == 0,
                f"the queue ({queue}) must be a multiple of the batch ({self.batch_size}); "
                f"try {path}={max(1, queue // self.batch_size) * self.batch_size}.",
            )
        require_splits(self, self.batch_norm)
        self.require(
            not self.batch_norm.joint_views,
            "each view has a forward of its own here; set batch_norm.joint_views=false.",
        )

    def _require_upright(self) -> None:
        for name in ("common", "first", "second"):
            view = getattr(self.views, name)
            self.require(
                view is None or view.rotate == 0,
                f"{type(self.objective).__name__} pairs cells by their place, which quarter turns "
                f"are not part of; set views.{name}.rotate=0.",
            )

    def _queues(self) -> dict[str, int]:
        """Length of every queue by its dotted path."""
        found = {f"objective.{k}": v for k, v in self.objective.queue_lengths.items()}
        if (branch := self.active_instance) is not None:
            lengths = branch.objective.queue_lengths
            found |= {f"instance.objective.{k}": v for k, v in lengths.items()}
        return found

    def num_head_parameters(self) -> int:
        width = self.encoder.out_width()
        total = self.projector.num_parameters(width)
        projected = self.projector.out or width
        if self.predictor is not None:
            total += self.predictor.num_parameters(projected)
        total += projected * sum(self.objective.queue_lengths.values())
        if (branch := self.active_instance) is not None:
            out = branch.projector.out or width
            total += branch.projector.num_parameters(width)
            total += 0 if branch.predictor is None else branch.predictor.num_parameters(out)
            total += out * sum(branch.objective.queue_lengths.values())
        return total

    def cause(self, *, complete: bool) -> str:
        return self.objective.cause(self, complete=complete)
