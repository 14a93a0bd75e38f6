"""Measured tables and checks in the terminal, by rich."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from sslbench.reports.company import company_line, not_measured, notes
from sslbench.reports.display import MARKS, Entry, Grid, Heading, Line, grid
from sslbench.tables.results import ClaimResult, MeasuredTable

if TYPE_CHECKING:
    from sslbench.reports.check import CheckReport

_COLOURS = {
    "held": "green",
    "not held": "red",
    "undecided": "yellow",
    "not measured": "bright_black",
}


MAX_ROWS = 200  # of a table: a terminal scrolls the rest away, and laying it out takes a minute
MAX_REMARKS = 40


def show_table(table: MeasuredTable, *, console: Console | None = None) -> None:
    """Print one table: cells, notes, the company line, and last the verdicts on its claims."""
    console = console or Console()
    console.print(render(table, width=console.width))


def show_headline(sentences: Sequence[str]) -> None:
    """Print the verdicts of several tables, counted."""
    for sentence in sentences:
        Console().print(Text(sentence, style="bold"))


def show_verdicts(table: MeasuredTable) -> None:
    """Print the verdict on each claim in words, to stderr: beside written files, whose paths are
    the output."""
    Console(stderr=True).print(Group(*_verdicts(table)))


def render(table: MeasuredTable, *, width: int = 100) -> RenderableType:
    """The table as a rich renderable; one wider than `width` characters is split by columns."""
    parts: list[RenderableType] = [Text(table.title, style="bold"), *_rows(table, width)]
    if table.rank_agreement:
        taus = ", ".join(f"{key} {tau:+.2f}" for key, tau in table.rank_agreement.items())
        parts.append(Text(f"rank agreement with the published rows (Kendall's tau): {taus}"))
    remarks = [*notes(table), *(f"Not measured: {text}" for text in not_measured(table))]
    if (left := len(remarks) - MAX_REMARKS) > 0:
        remarks = [*remarks[:MAX_REMARKS], f"{left:,} more notes: --format html or markdown"]
    parts += [Text(f"· {text}", style="bright_black") for text in remarks]
    parts.append(Text(company_line(table), style="italic bright_black"))
    return Group(*parts, *_verdicts(table))


def _rows(table: MeasuredTable, width: int) -> list[RenderableType]:
    """The cells, and a sentence where there are more than a terminal shows."""
    whole = grid(table)
    shown = replace(whole, lines=_first(whole))
    parts: list[RenderableType] = [_cells(shown, block) for block in _blocks(shown, width)]
    if left := len(whole.lines) - len(shown.lines):
        sentence = f"{left:,} more rows of {len(table.rows):,}: --format html, markdown or csv"
        parts.append(Text(sentence, style="yellow"))
    return parts


def _first(whole: Grid) -> tuple[Line, ...]:
    """As many rows as a terminal shows, and all baselines."""
    rows = [line for line in whole.lines if not line.baseline]
    return (*rows[:MAX_ROWS], *(line for line in whole.lines if line.baseline))


def print_cells(table: MeasuredTable, *, console: Console) -> None:
    """Print the cells of a table and nothing else."""
    console.print(Group(*_rows(table, console.width)))


def show_check(report: CheckReport, *, console: Console | None = None) -> None:
    """Print what a check found, failures last, where they are read first."""
    console = console or Console()
    styles = {"better": "yellow", "undecided": "yellow", "moved": "yellow"}
    for cell in report.warnings:
        console.print(Text(f"? {cell.sentence}", style=styles.get(cell.verdict, "")))
    for flip in report.flips:
        style = "red" if flip.failure else "yellow"
        console.print(Text(f"{'✗' if flip.failure else '?'} {flip.sentence}", style=style))
    for cell in report.failures:
        console.print(Text(f"✗ {cell.sentence}", style="red"))
    console.print(Text(report.sentence, style="bold green" if report.ok else "bold red"))


def _blocks(shown: Grid, width: int) -> list[list[int]]:
    """Positions of the headings that fit side by side, as many blocks as it takes: a number that
    the terminal cuts off is a wrong number."""
    room = width - _width([shown.corner, *(_label(line).plain for line in shown.lines)])
    blocks: list[list[int]] = [[]]
    used = 0
    for i in range(len(shown.headings)):
        need = 2 + _width([_header(shown, i), *(line.entries[i].text for line in shown.lines)])
        if blocks[-1] and used + need > room:
            blocks.append([])
            used = 0
        blocks[-1].append(i)
        used += need
    return blocks


def _width(texts: list[str]) -> int:
    return max(len(part) for text in texts for part in text.split("\n"))


def _header(shown: Grid, i: int, *, named: bool = True) -> str:
    """A column's name, wrapped to its cells, above its part."""
    heading = shown.headings[i]
    wide = max(14, _width([line.entries[i].text for line in shown.lines]))
    name = textwrap.wrap(heading.name, wide) if named else []
    stacked = heading.part_name.replace("ours, ", "ours\n").split("\n")
    return "\n".join([*name, *(line for part in stacked for line in textwrap.wrap(part, wide))])


def _cells(shown: Grid, block: list[int]) -> RichTable:
    out = RichTable(box=None, pad_edge=False, header_style="bold", show_edge=False)
    out.add_column(Text(shown.corner, style="not bold"), no_wrap=True)
    previous = ""
    for i in block:
        name = shown.headings[i].name  # once for all parts of a column, above the first
        header = Text(_header(shown, i, named=name != previous))
        out.add_column(header, justify="right", overflow="fold", vertical="bottom")
        previous = name
    for line in shown.lines:
        entries = (_entry(line.entries[i], shown.headings[i]) for i in block)
        out.add_row(_label(line), *entries)
    return out


def _label(line: Line) -> Text:
    label = Text(line.label, style="italic" if line.baseline else "")
    return label.append(f"\n  {line.verdict}", style="yellow") if line.verdict else label


def _entry(entry: Entry, heading: Heading) -> Text:
    if heading.part == "both":
        ours, _, below = entry.text.partition("\n")
        return Text(ours).append(f"\n{below}", style="bright_black") if below else Text(ours)
    return Text(entry.text, style="" if heading.part == "ours" else "bright_black")


def _verdicts(table: MeasuredTable) -> list[Text]:
    count = len(table.seeds)
    seeds = f"{count} seed{'s' if count != 1 else ''}"
    return [_verdict(claim, seeds) for claim in table.claims]


def _verdict(claim: ClaimResult, seeds: str) -> Text:
    """Such as "✓ Held: a beats b (a - b = 1.2 ± 0.4, needs > 0; 3 seeds)."."""
    verdict = claim.verdict[:1].upper() + claim.verdict[1:]
    text = Text(f"{MARKS[claim.ours]} {verdict}: ", style=_COLOURS[claim.ours])
    text.append(claim.says.rstrip("."), style="default")
    measured = claim.ours != "not measured"
    why = "; ".join(filter(None, (claim.detail, seeds if measured else "")))
    return text.append(f" ({why})." if why else ".", style=_COLOURS[claim.ours])
