"""Supervised training: the reference of the lecture's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sslbench.recipes.families.joint import kind_of, require_splits
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import BatchNorm, CrossEntropy, Shared


@dataclass(frozen=True, kw_only=True)
class SupervisedRecipe(Recipe):
    """Encoder and a linear classifier, trained with labels on every view.

    Its features need no more than a direction per class, so their rank is not judged.
    """

    needs_labels: ClassVar[bool] = True
    rank_matters: ClassVar[bool] = False
    FORMER: ClassVar[Mapping[str, Any]] = {
        "projector": None,
        "predictor": None,
        "target": Shared().to_dict(for_digest=True),
    }

    objective: CrossEntropy = CrossEntropy()
    batch_norm: BatchNorm = BatchNorm()

    def validate(self) -> None:
        super().validate()
        require_splits(self, self.batch_norm)

    @classmethod
    def is_former(cls, data: Mapping[str, Any]) -> bool:
        labelled = kind_of(data.get("objective")) == "CrossEntropy"
        return bool(labelled and data.get("epochs") != 0)
