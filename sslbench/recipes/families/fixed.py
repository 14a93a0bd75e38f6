"""What is not trained: an encoder as it is initialised, or a representation without parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sslbench.recipes.families.joint import kind_of
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import BatchNorm, CrossEntropy, Shared


@dataclass(frozen=True, kw_only=True)
class FixedRecipe(Recipe):
    """An encoder alone: the baselines that every method must beat."""

    FORMER: ClassVar[Mapping[str, Any]] = {
        "projector": None,
        "predictor": None,
        "target": Shared().to_dict(for_digest=True),
        "objective": CrossEntropy().to_dict(for_digest=True),
        "batch_norm": BatchNorm().to_dict(for_digest=True),
    }

    epochs: int = 0

    def validate(self) -> None:
        super().validate()
        self.require(
            self.epochs == 0, "nothing is trained, so epochs is 0; take another recipe to train."
        )

    def has(self, path: str) -> bool:
        """As for every spec; but a table's length of training is none of its."""
        return path != "epochs" and super().has(path)

    @classmethod
    def is_former(cls, data: Mapping[str, Any]) -> bool:
        return data.get("epochs") == 0 and kind_of(data.get("objective")) == "CrossEntropy"
