"""Regions: boxes of an image, seen in two views."""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.recipes.families.joint import require_splits
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import EMA, MLP, BatchNorm, RegionConsistency


@dataclass(frozen=True, kw_only=True)
class RegionRecipe(Recipe):
    """What the online network makes of a box in one view predicts what the target makes of the same
    box in the other. Random boxes and annotated ones differ in `objective.boxes` alone.
    """

    projector: MLP = MLP(hidden=(4096,), out=256)
    predictor: MLP | None = MLP(hidden=(4096,), out=None)
    target: EMA = EMA(momentum=0.99, schedule="cosine")
    objective: RegionConsistency = RegionConsistency()
    batch_norm: BatchNorm = BatchNorm()

    @property
    def vector_projector(self) -> MLP:
        return self.projector

    @property
    def needs_boxes(self) -> bool:
        return self.objective.boxes == "objects"

    def validate(self) -> None:
        super().validate()
        self.require(
            self.views.num_global == 2 and self.views.num_local == 0,
            "a box is seen in two views; set views.num_global=2 and views.num_local=0.",
        )
        for name in ("common", "first", "second"):
            view = getattr(self.views, name)
            self.require(
                view is None or view.rotate == 0,
                f"boxes are not turned with their view; set views.{name}.rotate=0.",
            )
        self.require(
            not (self.batch_norm.joint_views or self.batch_norm.shuffle),
            "each view has a forward of its own here, in order; set batch_norm.joint_views=false "
            "and batch_norm.shuffle=false.",
        )
        require_splits(self, self.batch_norm)

    def num_head_parameters(self) -> int:
        width = self.encoder.out_width()
        total = self.projector.num_parameters(width)
        if self.predictor is not None:
            total += self.predictor.num_parameters(self.projector.out or width)
        return total

    def cause(self, *, complete: bool) -> str:
        if self.predictor is None:
            return (
                "There are no negatives and no predictor, so the target is met by a constant "
                "output."
            )
        if self.target.momentum < 0.5:
            return "The target follows too fast (momentum below 0.5)."
        return "The learning rate may be too high, or the predictor's own rate too low."
