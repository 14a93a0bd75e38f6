"""What `ablate` and `leaderboard` share: tables are trained, scored, kept and printed.

No `from __future__ import annotations` here; command.py says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli import options as o
from sslbench.cli.grid import Grid
from sslbench.errors import RunFailed
from sslbench.requests import GridRequest

if TYPE_CHECKING:
    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable


@dataclass(frozen=True, kw_only=True)
class Measure(Grid, o.Results):
    """The options with which tables are measured and kept."""

    dataset: Annotated[
        str | None,
        typer.Option(
            help="A set's name, or NAME:PATH for local folders. Default: the set that the scale's "
            "tables are measured on (laptop: cifar10) where it lies under --data-root, else the "
            "scale's own."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print runs, the finished ones, and the time.")
    ] = False
    backend: Annotated[
        str,
        typer.Option(help="local, or ray for a cluster (extra `ray`; --device cuda: a GPU each)."),
    ] = "local"

    def measure(self, tables: Sequence[str], *, rows: Sequence[str] | None = None) -> None:
        """Train what tables lack, and print them; or only the plan, under --dry-run.

        Raises:
            RunFailed: at the end, when a run failed for another reason than its numbers; a
                diverged run is a result.
        """
        request = self.request(tables, rows=rows, dataset=self.dataset)
        if not self.json:
            typer.echo(request.why)
        plan = request.plan()
        if self.dry_run:
            self._tell_plan(plan, request)
            return
        failed = self.train(plan, backend=self.backend)
        self._tell(request.measure(), request)
        if failed:
            raise RunFailed(f"{len(failed)} of {len(plan.runs)} runs failed: " + "; ".join(failed))

    def _tell_plan(self, plan: "Plan", request: GridRequest) -> None:
        if self.json:
            data = {"dataset": request.dataset, "why": request.why}
            self.print_json(plain_plan(plan, jobs=self.jobs) | data)
        else:
            show_plan(plan, jobs=self.jobs)

    def _tell(self, measured: "list[MeasuredTable]", request: GridRequest) -> None:
        from sslbench.reports.terminal import show_table
        from sslbench.tables.results import result_path

        for table in measured:
            table.save(result_path(self.results, table))
        if self.json:
            self.print_json([table.to_dict() | {"why": request.why} for table in measured])
            return
        for table in measured:
            typer.echo(str(result_path(self.results, table)))
            show_table(table)


def plain_plan(plan: "Plan", *, jobs: int) -> dict[str, Any]:
    """The dry run, for scripts."""
    rows = [
        {
            "run": r.folder.path.name,
            "feeds": [vars(p) for p in r.places],
            "finished": r.finished,
            "seconds": r.seconds,
        }
        for r in plan.runs
    ]
    return {"runs": rows, "seconds": plan.seconds / jobs}


def show_plan(plan: "Plan", *, jobs: int) -> None:
    """The dry run: each run once, whether it is there, and the time that is left."""
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "feeds", "status", "estimate"):
        table.add_column(heading)
    for item in plan.runs:
        status = "finished" if item.finished else item.status
        estimate = "" if item.finished else _minutes(item.seconds)
        table.add_row(item.folder.path.name, item.label, status, estimate)
    Console().print(table)
    typer.echo(
        f"{len(plan.runs)} runs, {len(plan.runs) - len(plan.todo)} finished, {len(plan.todo)} to "
        f"do: about {_minutes(plan.seconds / jobs)} with --jobs {jobs}."
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
