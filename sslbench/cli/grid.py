"""What `ablate` and `check` share: a grid of runs, planned, trained and measured.

No `from __future__ import annotations` here; command.py says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sslbench.cli import options as o
from sslbench.cli import values
from sslbench.requests import GridRequest

if TYPE_CHECKING:
    from sslbench.recipes.specs import Data
    from sslbench.tables.grid import Plan


@dataclass(frozen=True, kw_only=True)
class Grid(o.Settings, o.Places, o.Device, o.Json):
    """The options with which tables are trained and measured."""

    seeds: Annotated[
        int | None,
        typer.Option(help="Seeds a row; default: the scale's.", callback=values.require_seeds),
    ] = None
    jobs: Annotated[
        int,
        typer.Option(help="Runs side by side (cores are divided).", callback=values.require_jobs),
    ] = 1

    def request(
        self,
        tables: Sequence[str],
        *,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        dataset: "str | Data | None" = None,
    ) -> GridRequest:
        """What is asked for. Raises UserError with the nearest names."""
        from sslbench.tables.schema import load_table

        return GridRequest.of(
            [load_table(name) for name in tables],
            scale=self.scale,
            seeds=self.seeds,
            rows=rows,
            columns=columns,
            dataset=dataset,
            changes=values.parse_sets(self.set_),
            runs=self.runs,
            root=self.data_root,
        )

    def train(self, plan: "Plan", *, backend: Literal["local", "ray"] = "local") -> list[str]:
        """Run a plan under a progress display.

        Returns:
            The sentences of failures that are no result: a diverged run is one.
        """
        from sslbench.reports.progress import grid_progress
        from sslbench.tables.grid import run

        with grid_progress(plan) as on_event:
            finished = run(
                plan, root=self.data_root, jobs=self.jobs, device=self.device, backend=backend,
                on_event=on_event,
            )  # fmt: skip
        return plan.faults(finished)
