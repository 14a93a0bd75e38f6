"""`--until-decided`: seeds are added, look by look, where a claim is undecided.

No `from __future__ import annotations` here; command.py says why.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli.grid import Grid
from sslbench.errors import UserError
from sslbench.requests import GridRequest

if TYPE_CHECKING:
    from sslbench.tables.adaptive import Due, Growing
    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable


@dataclass(frozen=True, kw_only=True)
class UntilDecided(Grid):
    """The options with which the claims say how many seeds it takes."""

    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="Add seeds where a claim is undecided; --seeds is the first look's (3).",
        ),
    ] = False
    max_seeds: Annotated[
        int | None, typer.Option(help="Of --until-decided: the last look's seeds; default: 12.")
    ] = None
    budget_minutes: Annotated[
        float | None,
        typer.Option(help="Of --until-decided: no look is begun that takes longer than is left."),
    ] = None

    def require_fitting_options(self) -> None:
        """Raises UserError for an option of --until-decided without it."""
        options = {"--max-seeds": self.max_seeds, "--budget-minutes": self.budget_minutes}
        for name, value in options.items():
            if value is not None and not self.until_decided:
                raise UserError(f"{name} goes with --until-decided; give both.")

    def growing(self, request: GridRequest, results: Path) -> "list[Growing]":
        """The tables, each with its planned looks. Raises UserError, before anything is trained."""
        return request.growing(
            first=self.seeds, most=self.max_seeds, results=results, device=self.device
        )

    def decide(
        self,
        tables: "list[Growing]",
        *,
        train: "Callable[[Plan], list[str]]",
        keep: "Callable[[MeasuredTable], None]",
    ) -> list[str]:
        """One table after the other until its claims are decided; the sentences of all faults."""
        from sslbench.reports.progress import told
        from sslbench.tables.adaptive import Budget, decide

        budget = Budget(self.budget_minutes, time.monotonic)
        faults: list[str] = []
        for table in tables:
            faults += decide(
                table, budget=budget, jobs=self.jobs, train=train, keep=keep,
                tell=told,
            )  # fmt: skip
        return faults


def next_look(table: "Growing") -> "Due | None":
    """The first look that lacks runs, after those whose runs are there; None where none is due."""
    while (due := table.due()) is not None and not due.plan.todo:
        table.look()
    return due


def plain_look(table: "Growing", due: "Due | None", *, jobs: int) -> dict[str, Any]:
    """What the next look of a table would cost, for scripts."""
    from sslbench.tables.adaptive import ended

    plain: dict[str, Any] = {"table": table.table.id, "planned": list(table.planned)}
    if due is None:
        return plain | {"look": None, "undecided": list(table.undecided), "ended": ended(table)}
    return plain | {
        "look": due.number,
        "seeds": dict(due.seeds),
        "undecided": list(due.undecided),
        "runs": [run.folder.path.name for run in due.plan.todo],
        "seconds": due.plan.seconds / jobs,
    }
