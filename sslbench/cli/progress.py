"""Progress bars of long work, on stderr; silent when it is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

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

_SHOWN = (("loss", ".3f"), ("knn", ".1f"), ("std", ".4f"), ("effective_rank", ".1f"),
          ("views/s", ",.0f"))  # fmt: skip


def describe(stats: Mapping[str, float]) -> str:
    """The latest metrics in a line: loss, kNN, std, effective rank, views per second."""
    names = {"effective_rank": "rank", "knn": "kNN"}
    parts = [f"{names.get(k, k)} {stats[k]:{form}}" for k, form in _SHOWN if k in stats]
    return "  ".join(parts)


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


def _plain(title: str) -> Report:
    """Without a terminal: a line at every tenth of the run."""
    last = -1

    def report(step: int, total: int, stats: Mapping[str, float]) -> None:
        nonlocal last
        tenth = 10 * step // total
        if tenth > last:
            last = tenth
            print(f"{title}  step {step}/{total}  {describe(stats)}", file=sys.stderr, flush=True)

    return report
