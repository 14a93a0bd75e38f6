"""What a study is, before it is run: recipe, data, space, budget, sampler and where it begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sslbench.data import fingerprint
from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.engine.place import run_folder
from sslbench.errors import UserError
from sslbench.plugins import described
from sslbench.recipes.code import plugins_of
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import Resolved, layered, resolve
from sslbench.recipes.spaces import Number, Space, space_of
from sslbench.recipes.specs import Data
from sslbench.tuning.budget import Budget
from sslbench.tuning.record import Parent

# Ten trials at random, then by TPE; those of a batch that are not done yet count as bad ones.
STARTUP = 10
SAMPLER = {"name": "TPE", "startup": STARTUP, "multivariate": True, "constant_liar": True}


@dataclass(frozen=True, kw_only=True)
class Definition:
    """All that decides what a study does; equal content, equal digest.

    Attributes:
        start: the recipe as the scale has it without what studies found, with the `fixed` changes.
        space: the dimensions that are searched, which of a recipe with a parent are some.
        base: the point that the search begins at; empty is the present setting.
        num_trials: of this study's own.
    """

    recipe: str
    scale: str
    data: Data
    fingerprint: str
    fixed: Mapping[str, Any]
    budget: Budget
    seed: int
    start: Resolved
    whole: Space
    space: Space
    base: Mapping[str, Number]
    num_trials: int
    parent: Parent | None = None

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which trials are looked at."""
        return self.budget.epochs(self.start.experiment.recipe.epochs)

    def point(self, values: Mapping[str, Number]) -> dict[str, Number]:
        """A point of the search in the whole space: where it is not what it is now."""
        whole = {**self.base, **values}
        return {d.name: whole[d.name] for d in self.whole
                if d.name in whole and whole[d.name] != d.default}  # fmt: skip

    def experiment(self, point: Mapping[str, Number], *, seed: int) -> Resolved:
        """The run of a point. Raises UserError where the pieces do not fit."""
        changes, now = self.whole.changes(point), self.start
        recipe, layers = layered(
            now.experiment.recipe, now.provenance, changes, "study", scale=self.scale,
            dataset=self.data.set_name,
        )  # fmt: skip
        return Resolved(now.experiment.but(recipe=recipe, seed=seed), layers)

    def folder(self, experiment: Experiment, *, runs: Path, root: Path) -> RunFolder:
        """Where a run of it lies."""
        return run_folder(experiment, runs=runs, root=root)

    def parts(self) -> dict[str, Any]:
        """What the digest is of, by a name that a sentence can use."""
        return {
            "recipe": self.start.experiment.digest(),
            "data": self.fingerprint,
            "space": self.space.plain(),
            "budget": {**self.budget.plain(), "own trials": self.num_trials},
            "sampler": {**SAMPLER, "seed": self.seed},
            "starting point": {"point": dict(self.base), "study": self.parent.digest if
                               self.parent else None},
            "numerics": NUMERICS,
            "plugins": sorted(described([plugins_of(self.start.experiment)])),
        }  # fmt: skip

    def digest(self) -> str:
        """16 hex digits of the SHA-256 of `parts`."""
        text = json.dumps(self.parts(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def start_of(recipe: str, *, scale: str, data: Data, fixed: Mapping[str, Any]) -> Resolved:
    """Where a study begins: the recipe as the scale has it without what studies found.

    A recipe that trains on labels does without the held-out images, on which it is compared.
    """
    start = resolve(recipe, scale=scale, layers=[("--set", fixed)], data=data, tuned=False)
    labelled = start.experiment.recipe.needs_labels
    return Resolved(start.experiment.but(without_heldout=labelled), start.provenance)


def whole_space(recipe: str, start: Resolved, fixed: Mapping[str, Any]) -> Space:
    """What may be changed of a recipe, but for the fields that are fixed. Raises UserError."""
    space = space_of(recipe, start.experiment.recipe)
    free = tuple(d for d in space if not any(_fixed(path, fixed) for path in d.paths))
    if not free:
        raise UserError(f"{recipe} has nothing to tune: --set fixes all of its space.")
    return Space(dimensions=free, left_out=space.left_out)


def _fixed(path: str, fixed: Mapping[str, Any]) -> bool:
    return any(fnmatch(path, f) or path.startswith(f"{f}.") for f in fixed)


def define(
    recipe: str,
    *,
    scale: str,
    data: Data,
    root: Path,
    fixed: Mapping[str, Any],
    budget: Budget,
    seed: int,
) -> Definition:
    """The study of a recipe that has no parent.

    Raises:
        UserError: an unknown recipe, scale or field, data that are not there, or a recipe with
            nothing to tune.
    """
    start = start_of(recipe, scale=scale, data=data, fixed=fixed)
    whole = whole_space(recipe, start, fixed)
    return Definition(
        recipe=recipe,
        scale=scale,
        data=data,
        fingerprint=fingerprint(data, root=root),
        fixed=fixed,
        budget=budget,
        seed=seed,
        start=start,
        whole=whole,
        space=whole,
        base={},
        num_trials=budget.trials,
    )
