"""What is asked of `tune`, on the command line or from Python: studies of some recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS, require
from sslbench.recipes.resolve import find_recipe, find_scale
from sslbench.recipes.spaces import read_spaces
from sslbench.recipes.specs import Data
from sslbench.tuning.budget import Budget
from sslbench.tuning.definition import Definition, define
from sslbench.tuning.estimate import Plan, plan_of
from sslbench.tuning.inheritance import inherited
from sslbench.tuning.record import Record, load_record, record_path
from sslbench.tuning.running import Backend, Progress, Runner
from sslbench.tuning.settings import write_setting
from sslbench.tuning.study import run_study


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """Studies of some recipes, parents before those that begin at them.

    Attributes:
        fixed: changes of every trial, which the space leaves alone.
        results: where records are kept, under `tuning/<scale>/<data set>/<recipe>.json`.
    """

    recipes: tuple[str, ...]
    scale: str
    data: Data
    fixed: Mapping[str, Any]
    budget: Budget
    seed: int
    results: Path
    runner: Runner

    @classmethod
    def of(
        cls,
        recipes: Sequence[str],
        *,
        scale: str,
        data: Data,
        fixed: Mapping[str, Any],
        trials: int = Budget.trials,
        seeds: int = Budget.seeds,
        seed: int = 0,
        runs: Path,
        root: Path,
        results: Path,
        jobs: int = 1,
        threads: int = 1,
        device: str = "auto",
        backend: Backend = "local",
    ) -> TuneRequest:
        """Raises UserError with the nearest names."""
        for name in recipes:
            find_recipe(name)
        require(PROTOCOLS["linear.features.v1"], _annotations(data), dataset=data.set_name)
        return cls(
            recipes=parents_first(recipes), scale=find_scale(scale).name, data=data,
            fixed=fixed, budget=Budget(trials=trials, seeds=seeds), seed=seed, results=results,
            runner=Runner(runs=runs, root=root, jobs=jobs, backend=backend, device=device,
                          threads=threads),
        )  # fmt: skip

    def path(self, recipe: str) -> Path:
        """Where the record of a recipe's study lies."""
        return record_path(self.results, scale=self.scale, dataset=self.data.set_name,
                           recipe=recipe)  # fmt: skip

    def definition(self, recipe: str, *, planned: bool = False) -> Definition:
        """The study of a recipe.

        Args:
            planned: to see what would be done; a parent's study need not be there.
        Raises:
            UserError: as `define` and `inherited`, or the parent's study is not there.
        """
        own = define(recipe, scale=self.scale, data=self.data, root=self.runner.root,
                     fixed=self.fixed, budget=self.budget, seed=self.seed)  # fmt: skip
        how = read_spaces().inherits.get(recipe)
        if how is None:
            return own
        record = load_record(self.path(how.parent))
        if record is None and not planned:
            raise UserError(
                f"{recipe} begins at the study of {how.parent}, and {self.path(how.parent)} is not "
                f"there; run `sslbench tune {how.parent}` with the same options first, or give "
                "both."
            )
        return inherited(own, how, record)

    def plan(self, recipe: str) -> Plan:
        """What a study would take. Raises UserError."""
        return plan_of(self.definition(recipe, planned=True), runs=self.runner.runs)

    def run(
        self, recipe: str, *, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> Record:
        """Run a study, go on with it, or read it. Raises as `run_study`."""
        runner = replace(self.runner, on_progress=on_progress)
        return run_study(self.definition(recipe), runner, results=self.results)

    def write(self, record: Record) -> Path:
        """Make a winner the setting of the scale; the file. Raises UserError."""
        return write_setting(record)


def parents_first(recipes: Sequence[str]) -> tuple[str, ...]:
    """Each once; those that begin at another's study last."""
    inherits = read_spaces().inherits
    return tuple(sorted(dict.fromkeys(recipes), key=lambda name: name in inherits))


def _annotations(data: Data) -> frozenset[str]:
    if data.set_name not in DATASETS:
        raise UserError(f"No data set '{data.set_name}'; see `sslbench list datasets`.")
    return frozenset(DATASETS[data.set_name].annotations)
