"""What `ablate` and `check` share: a grid of runs, planned, trained and measured.

No `from __future__ import annotations` here; command.py says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sslbench.cli import options as o
from sslbench.cli import values
from sslbench.errors import UserError
from sslbench.recipes.resolve import find_scale
from sslbench.recipes.specs import Data

if TYPE_CHECKING:
    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable
    from sslbench.tables.schema import Table


@dataclass(frozen=True)
class GridRequest:
    """What a command asks of the grid, parsed."""

    tables: "tuple[Table, ...]"
    scale: str
    seeds: int
    data: Data | None
    overrides: dict[str, Any]
    runs: Path
    root: Path
    rows: tuple[str, ...] | None = None

    def plan(self) -> "Plan":
        """The runs it takes."""
        from sslbench.tables.grid import plan

        return plan(
            self.tables, scale=self.scale, seeds=self.seeds, rows=self.rows, data=self.data,
            overrides=self.overrides, runs=self.runs, root=self.root,
        )  # fmt: skip

    def measure(self) -> "list[MeasuredTable]":
        """The tables as far as they have been run."""
        from sslbench.tables.measure import measure

        return [
            measure(
                table, scale=self.scale, seeds=self.seeds, runs=self.runs, root=self.root,
                data=self.data, overrides=self.overrides,
            )
            for table in self.tables
        ]  # fmt: skip


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
        dataset: str | None = None,
    ) -> GridRequest:
        """What is asked for. Raises UserError with the nearest names."""
        from sslbench.tables.schema import load_table

        changes, of_data = values.parse_sets(self.set_)
        data = values.parse_dataset(dataset, self.scale)
        if of_data:
            data = (data or find_scale(self.scale).data).but(of_data)
        return GridRequest(
            tables=tuple(load_table(name) for name in tables),
            scale=self.scale,
            seeds=self.seeds or find_scale(self.scale).seeds,
            data=data,
            overrides=changes,
            runs=self.runs,
            root=self.data_root,
            rows=None if rows is None else tuple(r.strip() for r in rows),
        )

    def train(self, plan: "Plan", *, backend: str = "local") -> list[str]:
        """Run a plan under a progress display.

        Returns:
            The sentences of failures that are no result: a diverged run is one.
        """
        from sslbench.cli.progress import grid_progress
        from sslbench.tables.grid import run

        if backend not in ("local", "ray"):
            raise UserError(f"No backend '{backend}'; known: local, ray.")
        where: Literal["local", "ray"] = "ray" if backend == "ray" else "local"
        with grid_progress(plan) as on_event:
            finished = run(
                plan, root=self.data_root, jobs=self.jobs, device=self.device, backend=where,
                on_event=on_event,
            )  # fmt: skip
        by_name = {item.folder.path.name: item for item in plan.runs}
        return [text for name, text in finished.failed.items() if not by_name[name].diverged]
