"""What a study would take: its space, its budget, and about how long."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.engine.folder import RunFolder, Summary
from sslbench.errors import UserError
from sslbench.files import entries
from sslbench.tuning.definition import Definition

GUESSED_SECONDS = 1e-4  # of an image in an epoch, where nothing was trained here yet


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study that is not run yet. `seconds` are about those of all its runs, one after the other,
    where half of the trials go on past each rung; `most` where all do. `measured`: by the pace of
    finished runs here."""

    definition: Definition
    seconds: float
    most: float
    measured: bool

    def plain(self) -> dict[str, Any]:
        """Plain data for scripts."""
        own = self.definition
        return {
            "recipe": own.recipe, "scale": own.scale, "dataset": own.data.set_name,
            "digest": own.digest(), "space": own.space.plain(), "base": dict(own.base),
            "left_out": dict(own.whole.left_out), "budget": own.parts()["budget"],
            "rungs": list(own.rungs), "seconds": self.seconds, "most_seconds": self.most,
        }  # fmt: skip


def plan_of(definition: Definition, *, runs: Path) -> Plan:
    """What a study would take, by the pace of what was trained under `runs`."""
    recipe = definition.start.experiment.recipe
    pace = _pace(definition, runs)
    images = getattr(definition.data, "num_train", None) or 50_000
    run = recipe.epochs * images * (GUESSED_SECONDS if pace is None else pace)
    budget = definition.budget
    share, before, alive = 0.0, 0, 1.0
    for epoch in (*definition.rungs, recipe.epochs):
        share += alive * (epoch - before) / recipe.epochs
        before, alive = epoch, alive / 2
    further = min(budget.best + 1, definition.num_trials) * (budget.seeds - 1)
    return Plan(
        definition=definition, seconds=run * (definition.num_trials * share + further),
        most=run * (definition.num_trials + further), measured=pace is not None,
    )  # fmt: skip


def _pace(definition: Definition, runs: Path) -> float | None:
    """Seconds of an image in an epoch, by finished runs of the recipe at the scale, else of any."""
    own: list[float] = []
    others: list[float] = []
    for path in entries(runs):
        try:
            summary = RunFolder(path).summary()
        except UserError:  # another run than these
            continue
        if summary.get("scale") == definition.scale and (pace := _pace_of(summary)):
            (own if summary.get("recipe") == definition.recipe else others).append(pace)
    found = own or others
    return statistics.median(found) if found else None


def _pace_of(summary: Summary) -> float:
    work = summary.get("epochs", 0) * summary.get("images", {}).get("train", 0)
    done = summary.get("status") == "finished" and work > 0
    return summary.get("elapsed_seconds", 0.0) / work if done else 0.0
