"""How long runs and their scores will take: as finished ones beside them took, or a guess."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scores import all_scores
from sslbench.files import entries
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.resolve import find_scale
from sslbench.recipes.specs import Data

# Of a run of the scale's usual epochs.
GUESSED_SECONDS = {"smoke": 5, "laptop": 60, "desktop": 800, "cifar": 3600, "paper": 400_000}
USUAL_IMAGES = 50_000  # where a set's size is not said


@dataclass(frozen=True)
class Pace:
    """Of the finished runs of a scale: seconds an epoch by data set and recipe, and seconds a score
    by data set and protocol."""

    scale: str
    found: Mapping[tuple[str, str], list[float]]
    scores: Mapping[tuple[str, str], list[float]]

    @classmethod
    def of(cls, runs: Path, scale: str) -> Pace:
        """That of the runs in a folder."""
        found: dict[tuple[str, str], list[float]] = {}
        scores: dict[tuple[str, str], list[float]] = {}
        for path in entries(runs):
            try:
                summary = RunFolder(path).summary()
            except UserError:  # another run than these; `sslbench list runs` names it
                continue
            if summary.get("scale") == scale and summary.get("status") == "finished":
                for score in all_scores(RunFolder(path))[0].values():
                    key = score.dataset, score.protocol
                    scores.setdefault(key, []).append(score.elapsed_seconds)
                epochs, seconds = summary.get("epochs", 0), summary.get("elapsed_seconds", 0.0)
                if epochs and seconds:
                    key = summary.get("dataset", ""), summary["recipe"]
                    found.setdefault(key, []).append(seconds / epochs)
        return cls(scale, found, scores)

    def seconds(self, recipe: Recipe, dataset: str, *, epochs: float | None = None) -> float:
        """Of a whole training, or of so many epochs: by runs of the recipe, of any, or by a
        guess."""
        usual = [pace for (name, _), paces in self.found.items() if name == dataset
                 for pace in paces]  # fmt: skip
        paces = self.found.get((dataset, recipe.name)) or usual or [self._guess(dataset)]
        return (recipe.epochs if epochs is None else epochs) * statistics.median(paces)

    def scoring(self, recipe: Recipe, own: Data, protocol: str, on: Data, *, first: bool) -> float:
        """Of a score: as those of the protocol took on the set, or a guess: a millisecond an image
        for features and probes, and the passes over the images in which an encoder learns, at
        the run's pace.

        Args:
            own: what the run was trained on.
            on: what it is judged on.
            first: whether what is trained from scratch beside it is not there yet.
        """
        if known := self.scores.get((on.set_name, protocol)):
            return statistics.median(known)
        images = on.num_train or USUAL_IMAGES
        passes = PROTOCOLS[protocol].passes(images)
        if first:
            passes += PROTOCOLS[protocol].scratch_passes(images, pretraining=recipe.epochs)
        share = images / (own.num_train or USUAL_IMAGES)
        heads = passes * images * PROTOCOLS[protocol].image_seconds
        return 1e-3 * images + heads + share * self.seconds(recipe, own.set_name, epochs=passes)

    def _guess(self, dataset: str) -> float:
        epochs = find_scale(self.scale).usual_epochs(dataset)
        return GUESSED_SECONDS.get(self.scale, 100.0) / epochs
