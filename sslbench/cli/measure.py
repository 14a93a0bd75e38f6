"""What `ablate` and `leaderboard` share: tables are trained, scored, kept and printed.

No `from __future__ import annotations` here; command.py says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli import options as o
from sslbench.cli.until_decided import UntilDecided, next_look, plain_look
from sslbench.errors import RunFailed
from sslbench.requests import GridRequest

if TYPE_CHECKING:
    from sslbench.tables.adaptive import Growing
    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable


@dataclass(frozen=True, kw_only=True)
class Measure(UntilDecided, o.Backend, o.Results):
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

    def measure(
        self,
        tables: Sequence[str],
        *,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Train what tables lack, and print them; or only the plan, under --dry-run.

        Raises:
            RunFailed: at the end, when a run failed for another reason than its numbers; a
                diverged run is a result.
        """
        self.require_fitting_options()
        request = self.request(tables, rows=rows, columns=columns, dataset=self.dataset)
        growing = self.growing(request, self.results) if self.until_decided else None
        if not self.json:
            typer.echo(request.why)
        if growing is not None:
            self._until_decided(growing, request)
            return
        plan = request.plan()
        if self.dry_run:
            self._tell_plan(plan, request)
            return
        failed = self.train(plan, backend=self.pick_backend())
        self._tell(request.measure(), request)
        if failed:
            raise RunFailed(f"{len(failed)} of {len(plan.runs)} runs failed: " + "; ".join(failed))

    def _until_decided(self, tables: "list[Growing]", request: GridRequest) -> None:
        if self.dry_run:
            self._tell_looks(tables, request)
            return
        failed = self.decide(
            tables,
            train=lambda plan: self.train(plan, backend=self.pick_backend()),
            keep=self._keep,
        )
        self._show([table.measured for table in tables if table.measured is not None], request)
        if failed:
            raise RunFailed(f"{len(failed)} runs failed: " + "; ".join(failed))

    def _tell_looks(self, tables: "list[Growing]", request: GridRequest) -> None:
        """What the next look of each table would cost."""
        from sslbench.tables.adaptive import asked, ended

        found = [(table, next_look(table)) for table in tables]
        if self.json:
            data = {"dataset": request.dataset, "why": request.why}
            self.print_json([plain_look(*one, jobs=self.jobs) | data for one in found])
            return
        for table, due in found:
            if due is None:
                typer.echo(ended(table))
                continue
            show_plan(due.plan, jobs=self.jobs)
            rows = ", ".join(f"{row} ({count})" for row, count in due.seeds.items())
            typer.echo(f"{asked(due)}. Seeds of its rows: {rows}.")

    def _tell_plan(self, plan: "Plan", request: GridRequest) -> None:
        if self.json:
            data = {"dataset": request.dataset, "why": request.why}
            self.print_json(plain_plan(plan, jobs=self.jobs) | data)
        else:
            show_plan(plan, jobs=self.jobs)

    def _tell(self, measured: "list[MeasuredTable]", request: GridRequest) -> None:
        for table in measured:
            self._keep(table)
        self._show(measured, request)

    def _keep(self, table: "MeasuredTable") -> None:
        from sslbench.tables.results import result_path

        table.save(result_path(self.results, table))

    def _show(self, measured: "list[MeasuredTable]", request: GridRequest) -> None:
        from sslbench.reports.terminal import show_table
        from sslbench.tables.results import result_path

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
