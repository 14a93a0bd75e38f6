"""`ablate`: plan a grid, train what is missing, print ours beside the published numbers."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from sslbench.cli.options import parse_dataset, parse_sets, require_jobs
from sslbench.errors import RunFailed, UserError
from sslbench.recipes.resolve import find_scale
from sslbench.recipes.specs import Data
from sslbench.tables.schema import Table, load_table

if TYPE_CHECKING:
    from sslbench.tables.grid import Event, Plan
    from sslbench.tables.results import MeasuredTable


@dataclass(frozen=True)
class GridRequest:
    """What `ablate` and `check` ask of the grid, parsed."""

    tables: tuple[Table, ...]
    scale: str
    seeds: int
    data: Data | None
    overrides: dict[str, Any]
    runs: Path
    root: Path
    rows: tuple[str, ...] | None = None

    def plan(self) -> Plan:
        """The runs it takes."""
        from sslbench.tables.grid import plan

        return plan(
            self.tables, scale=self.scale, seeds=self.seeds, rows=self.rows, data=self.data,
            overrides=self.overrides, runs=self.runs, root=self.root,
        )  # fmt: skip

    def measure(self) -> list[MeasuredTable]:
        """The tables as far as they have been run."""
        from sslbench.tables.measure import measure

        return [
            measure(
                table, scale=self.scale, seeds=self.seeds, runs=self.runs, root=self.root,
                data=self.data, overrides=self.overrides,
            )
            for table in self.tables
        ]  # fmt: skip


def grid_request(
    tables: Sequence[str],
    *,
    scale: str,
    seeds: int | None,
    dataset: str | None,
    sets: Sequence[str] | None,
    runs: Path,
    root: Path,
    rows: Sequence[str] | None = None,
) -> GridRequest:
    """Parse what both commands take. Raises UserError with the nearest names."""
    changes = parse_sets(sets)
    of_data = {k: changes.pop(k) for k in list(changes) if k.startswith("data.")}
    data = parse_dataset(dataset, scale)
    if of_data:
        base = data or find_scale(scale).data
        data = base.but({k.removeprefix("data."): v for k, v in of_data.items()})
    if seeds is not None and seeds < 1:
        raise UserError("--seeds must be at least 1.")
    return GridRequest(
        tables=tuple(load_table(name) for name in tables),
        scale=scale,
        seeds=seeds or find_scale(scale).seeds,
        data=data,
        overrides=changes,
        runs=runs,
        root=root,
        rows=None if rows is None else tuple(r.strip() for r in rows),
    )


def ablate(
    tables: Sequence[str],
    *,
    scale: str,
    seeds: int | None,
    rows: Sequence[str] | None,
    dataset: str | None,
    sets: Sequence[str] | None,
    dry_run: bool,
    jobs: int,
    backend: str,
    runs: Path,
    root: Path,
    results: Path,
    device: str,
    as_json: bool,
) -> None:
    """The command. Raises RunFailed at the end when a run failed for another reason than its
    numbers; a diverged run is a result."""
    require_jobs(jobs)
    request = grid_request(
        tables, scale=scale, seeds=seeds, dataset=dataset, sets=sets, runs=runs, root=root,
        rows=rows,
    )  # fmt: skip
    plan = request.plan()
    if dry_run:
        show_plan(plan, jobs=jobs, as_json=as_json)
        return
    failed = execute(plan, root=root, jobs=jobs, device=device, backend=backend)
    measured = request.measure()
    from sslbench.tables.results import result_path

    for table in measured:
        table.save(result_path(results, table))
    if as_json:
        typer.echo(json.dumps([table.to_dict() for table in measured], indent=1))
    else:
        from sslbench.reports.terminal import show_table

        for table in measured:
            show_table(table)
            typer.echo(str(result_path(results, table)))
    if failed:
        raise RunFailed(f"{len(failed)} of {len(plan.runs)} runs failed: " + "; ".join(failed))


def execute(plan: Plan, *, root: Path, jobs: int, device: str, backend: str = "local") -> list[str]:
    """Run a plan under a progress display. Returns the sentences of failures that are no result."""
    from sslbench.tables.grid import run

    if backend not in ("local", "ray"):
        raise UserError(f"No backend '{backend}'; known: local, ray.")
    where: Literal["local", "ray"] = "ray" if backend == "ray" else "local"
    with grid_progress(plan) as on_event:
        finished = run(plan, root=root, jobs=jobs, device=device, backend=where, on_event=on_event)
    by_name = {item.folder.path.name: item for item in plan.runs}
    return [text for name, text in finished.failed.items() if not by_name[name].diverged]


def show_plan(plan: Plan, *, jobs: int, as_json: bool) -> None:
    """The dry run: each run once, whether it is there, and the time that is left."""
    if as_json:
        rows = [
            {
                "run": r.folder.path.name,
                "feeds": [vars(p) for p in r.places],
                "finished": r.finished,
                "seconds": r.seconds,
            }
            for r in plan.runs
        ]
        typer.echo(json.dumps({"runs": rows, "seconds": plan.seconds / jobs}, indent=1))
        return
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


@contextlib.contextmanager
def grid_progress(plan: Plan) -> Iterator[Callable[[Event], None]]:
    """A bar for the grid and one for each run in progress; plain lines without a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from sslbench.cli.progress import describe

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_events()
        return
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stats]}"),
        console=console,
    )
    with bar:
        overall = bar.add_task("grid", total=len(plan.todo), stats="")
        tasks: dict[str, Any] = {}
        told: set[tuple[str, str]] = set()

        def on_event(event: Event) -> None:
            name = event.run.folder.path.name
            if event.kind == "progress":
                bar.update(tasks[name], completed=event.step, total=event.steps,
                           stats=describe(event.metrics or {}))  # fmt: skip
                return
            if name in tasks:  # ended, or begins again after its worker died
                bar.remove_task(tasks.pop(name))
            if event.kind == "start":
                tasks[name] = bar.add_task(event.run.label, total=None, stats="")
                return
            if event.kind != "waiting":
                bar.advance(overall)
            if event.kind != "done" and (name, event.kind) not in told:
                told.add((name, event.kind))
                text = f"{event.kind} {event.run.label}: {event.error}"
                bar.console.print(text, markup=False, style="red" if event.kind == "failed" else "")

        yield on_event


def _plain_events() -> Callable[[Event], None]:
    """Without a terminal: a line for each run that ended, or that another process has."""
    waiting: set[str] = set()

    def on_event(event: Event) -> None:
        name = event.run.folder.path.name
        if event.kind in ("start", "progress") or (event.kind == "waiting" and name in waiting):
            return
        if event.kind == "waiting":
            waiting.add(name)
        text = f": {event.error}" if event.error else ""
        print(f"[{event.number}/{event.total}] {event.kind} {event.run.label}{text}",
              file=sys.stderr, flush=True)  # fmt: skip

    return on_event
