"""Leave-one-out contrast: a space for each augmentation that is to be told, one for none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.recipes.families.joint import require_queue, require_splits
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import EMA, MLP, BatchNorm, LeaveOneOut, Spaces


@dataclass(frozen=True, kw_only=True)
class LoocRecipe(Recipe):
    """A query meets one key more than there are augmentations in `views.shared`, in as many spaces,
    each with a projector of its own and its own queue.

    The encoder's output is what the paper calls LooC, the concatenation of the spaces LooC++.
    """

    shares_views: ClassVar[bool] = True

    projector: MLP = MLP(hidden=(2048,), out=128, hidden_norm=False)
    target: EMA = EMA(momentum=0.999)
    objective: LeaveOneOut = LeaveOneOut()
    batch_norm: BatchNorm = BatchNorm()

    @property
    def num_spaces(self) -> int:
        """Of embeddings: one for each augmentation that is left out, and the first."""
        return 1 + len(self.views.shared)

    @property
    def vector_projector(self) -> Spaces:
        return Spaces(head=self.projector, count=self.num_spaces)

    def validate(self) -> None:
        super().validate()
        self.require(
            len(self.views.shared) > 0,
            "no augmentation is left out of any space; name some in views.shared, or take moco-v2.",
        )
        self.require(
            self.views.num_local == 0, "local crops are not read here; set views.num_local=0."
        )
        self.require(
            not self.batch_norm.joint_views,
            "the query is the only view of its network; set batch_norm.joint_views=false.",
        )
        require_queue(self, self.objective.queue, "objective.queue")
        require_splits(self, self.batch_norm)

    def num_head_parameters(self) -> int:
        width = self.encoder.out_width()
        out = self.projector.out or width
        one = self.projector.num_parameters(width) + out * self.objective.queue
        return self.num_spaces * one

    def cause(self, *, complete: bool) -> str:
        return self.objective.cause(complete=complete)
