"""How long a run will take: by the pace of finished runs beside it, or a guess."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.files import entries
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.resolve import find_scale
from sslbench.recipes.specs import Data

# Of a run of the scale's usual epochs.
GUESSED_SECONDS = {"smoke": 5, "laptop": 60, "desktop": 800, "cifar": 3600, "paper": 400_000}


@dataclass(frozen=True)
class Pace:
    """Seconds an epoch of the finished runs of a scale, by data set and recipe."""

    scale: str
    found: Mapping[tuple[str, str], list[float]]

    @classmethod
    def of(cls, runs: Path, scale: str) -> Pace:
        """That of the runs in a folder."""
        found: dict[tuple[str, str], list[float]] = {}
        for path in entries(runs):
            try:
                summary = RunFolder(path).summary()
            except UserError:  # another run than these; `sslbench list runs` names it
                continue
            if summary.get("scale") == scale and summary.get("status") == "finished":
                epochs, seconds = summary.get("epochs", 0), summary.get("elapsed_seconds", 0.0)
                if epochs and seconds:
                    key = summary.get("dataset", ""), summary["recipe"]
                    found.setdefault(key, []).append(seconds / epochs)
        return cls(scale, found)

    def seconds(self, recipe: Recipe, dataset: str, *, epochs: float | None = None) -> float:
        """Of a whole training, or of so many epochs: by runs of the recipe, of any, or by a
        guess."""
        usual = [pace for (name, _), paces in self.found.items() if name == dataset
                 for pace in paces]  # fmt: skip
        paces = self.found.get((dataset, recipe.name)) or usual or [self._guess(dataset)]
        return (recipe.epochs if epochs is None else epochs) * statistics.median(paces)

    def _guess(self, dataset: str) -> float:
        epochs = find_scale(self.scale).usual_epochs(dataset)
        return GUESSED_SECONDS.get(self.scale, 100.0) / epochs


def scoring_seconds(data: Data) -> float:
    """A guess of features and probes: about a millisecond an image of a small set."""
    return 1e-3 * (data.num_train or 50_000)
