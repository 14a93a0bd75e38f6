"""Progress bars of long work, on stderr; silent when it is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sslbench.engine.progress import Progress as Report

if TYPE_CHECKING:
    from sslbench.tables.grid import Event, Plan
    from sslbench.tuning.running import Progress as StudyProgress

_SHOWN = (("loss", ".3f"), ("knn", ".1f"), ("std", ".4f"), ("effective_rank", ".1f"),
          ("views/s", ",.0f"))  # fmt: skip


def describe(stats: Mapping[str, float]) -> str:
    """The latest metrics in a line: loss, kNN, std, effective rank, views per second."""
    names = {"effective_rank": "rank", "knn": "kNN"}
    parts = [f"{names.get(k, k)} {stats[k]:{form}}" for k, form in _SHOWN if k in stats]
    return "  ".join(parts)


def watched() -> bool:
    """Whether what goes to standard error is seen as it comes: by a terminal, or a notebook."""
    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


def told(sentence: str) -> None:
    """What comes next, or how it ended, in a line between the bars."""
    print(sentence, file=sys.stderr, flush=True)


@contextlib.contextmanager
def run_progress(title: str) -> Iterator[Report]:
    """A bar for one run; yields what the engine calls at every log point."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(title)
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[stats]}"),
        console=console,
    )
    with bar:
        task = bar.add_task(title, total=None, stats="")
        latest: dict[str, float] = {}

        def report(step: int, total: int, stats: Mapping[str, float]) -> None:
            latest.update(stats)
            bar.update(task, completed=step, total=total, stats=describe(latest))

        yield report


@contextlib.contextmanager
def scoring_progress(title: str) -> Iterator[Report]:
    """The same for protocols: a bar from the first step of one that trains, nothing before."""
    with contextlib.ExitStack() as stack:
        shown: list[Report] = []

        def report(step: int, total: int, stats: Mapping[str, float]) -> None:
            if not shown:
                shown.append(stack.enter_context(run_progress(title)))
            shown[0](step, total, stats)

        yield report


def _plain(title: str) -> Report:
    """Without a terminal: a line at every tenth of the run, or of each of several in turn."""
    last = -1

    def report(step: int, total: int, stats: Mapping[str, float]) -> None:
        nonlocal last
        tenth = 10 * step // total
        if tenth < last:
            last = -1
        if tenth > last:
            last = tenth
            print(f"{title}  step {step}/{total}  {describe(stats)}", file=sys.stderr, flush=True)

    return report


def study_progress(progress: StudyProgress) -> None:
    """A line for each batch of a study and each run that ended."""
    print(f"{progress.recipe}  {progress.text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def grid_progress(plan: Plan) -> Iterator[Callable[[Event], None]]:
    """A bar for the grid and one for each run in progress; plain lines without a terminal."""
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
