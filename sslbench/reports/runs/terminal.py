"""One's own runs in the terminal, by rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sslbench.reports.runs.steps import Step
from sslbench.reports.runs.view import (
    LEGEND,
    RUN_HEADINGS,
    SCORE_HEADINGS,
    GroupView,
    ReportView,
    describe,
)
from sslbench.reports.terminal import print_cells

_COLOURS = {"held": "green", "not-held": "red", "undecided": "yellow"}
CHOSEN = SCORE_HEADINGS.index("chosen")
_FAINT = "bright_black"


def show_runs(report: ReportView, *, console: Console | None = None) -> None:
    """Print each group, then the scores side by side, where they are read first."""
    console = console or Console()
    for shown in report.groups:
        _show_group(shown, console)
        console.print()
    for table in report.scores:
        console.print(Text(table.title, style="bold"))
        print_cells(table, console=console)
        console.print(Text(describe(table), style=f"italic {_FAINT}"))
    if report.scores:
        console.print(Text(LEGEND, style=_FAINT))
    _show_steps(report.steps, console)
    for remark in report.remarks:
        console.print(Text(f"! {remark}", style="yellow"))


def _show_group(shown: GroupView, console: Console) -> None:
    title = Text(shown.label, style="bold")
    for word, colour in shown.states:
        title.append(f"  {word}", style=_COLOURS.get(colour, _FAINT))
    console.print(title)
    console.print(Text(shown.line, style=f"italic {_FAINT}"))
    for cause in shown.causes:
        console.print(Text(cause))
    console.print(_lines(RUN_HEADINGS, shown.runs))
    if chosen := [line for line in shown.scores if line[CHOSEN] != "–"]:
        console.print(_lines(SCORE_HEADINGS, chosen))  # the others stand side by side, below
    for remark in shown.remarks:
        console.print(Text(f"! {remark}", style="yellow"))
    own = [change for change in shown.changes if change.own]
    if own:
        text = ", ".join(f"{c.field}={c.value}" for c in own)
        console.print(Text(f"changed: {text}", style=_FAINT))
    _show_steps(shown.steps, console)
    if shown.on_labels:
        console.print(Text(shown.on_labels, style=_FAINT))


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    return table


def _show_steps(steps: Sequence[Step], console: Console) -> None:
    """Commands on lines that are never wrapped, so that they can be copied."""
    for place, step in enumerate(steps):
        start = "Next:" if place == 0 else "     "
        console.print(Text(f"{start} {step.command}"), soft_wrap=True)
