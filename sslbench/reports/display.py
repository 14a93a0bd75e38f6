"""A measured table as text: one place where numbers are rounded, so all formats show the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sslbench.evaluation.protocols import POINTS
from sslbench.tables.estimates import Outcome
from sslbench.tables.results import Cell, MeasuredColumn, MeasuredRow, MeasuredTable

Part = Literal["ours", "published", "difference", "both"]

MARKS: dict[Outcome, str] = {"held": "✓", "not held": "✗", "undecided": "?", "not measured": "–"}
STATES = {"diverged": "diverged", "failed": "failed", "missing": "not run", "published-only": ""}
SPREAD_OUT = 3  # up to so many columns with both, ours and published get a column each
UNCERTAIN = "†: the published value is recalled or read off a figure, not checked."


@dataclass(frozen=True, kw_only=True)
class Heading:
    """One shown column: which table column, and what of it (`both` is ours over published).

    `name` is the column's name with its unit, e.g. "top-1 (%)", less what all columns share.
    `alone` says that the table has nothing published, so that "ours" says nothing.
    """

    column: MeasuredColumn
    part: Part
    name: str
    alone: bool = False

    @property
    def part_name(self) -> str:
        """The part in words, with the published values' protocol where it is not ours."""
        if self.alone:
            return ""
        words = "ours, published" if self.part == "both" else self.part
        named = self.column.protocol and self.part in ("both", "published")
        return f"{words} ({self.column.protocol})" if named else words


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One shown cell. `text` may have two lines (`both`); `shade` runs from 0, the worst of its
    column, to 1, the best; `note` is why there is no number."""

    text: str
    shade: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One shown row; `verdict` is "" when every run was healthy."""

    row: MeasuredRow
    label: str
    verdict: str
    entries: tuple[Entry, ...]
    baseline: bool


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table ready to be drawn: the same headings for every line.

    `corner` is what all column names share ("second transform"), or "".
    """

    corner: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]


def grid(table: MeasuredTable) -> Grid:
    """The table's rows and baselines as text."""
    corner = _shared_prefix([column.name for column in table.columns])
    headings = tuple(_headings(table, corner))
    rows = [(row, False) for row in table.rows] + [(row, True) for row in table.baselines]
    shades = {heading: _shades(table, heading) for heading in headings}
    lines = tuple(
        Line(
            row=row,
            label=row_label(row),
            verdict=verdict_text(row),
            entries=tuple(_entry(table, row, h, shades[h].get(row.id)) for h in headings),
            baseline=baseline,
        )
        for row, baseline in rows
    )
    return Grid(corner=corner, headings=headings, lines=lines)


def legend(table: MeasuredTable) -> str:
    """What a shown cell's numbers are."""
    parts = {heading.part for heading in _headings(table, "")}
    if "both" in parts:
        return (
            f"Ours is the mean ± its 95 % interval over {len(table.seeds)} seeds (another number "
            "in brackets); below it the published value and, in brackets, ours less published."
        )
    ours = "Ours is the mean ± its 95 % interval over seeds (number of seeds)"
    return (
        f"{ours}; the difference is ours less published." if "difference" in parts else f"{ours}."
    )


def is_measured(table: MeasuredTable) -> bool:
    """Whether some row of ours has a number."""
    return any(cell.n for row in table.rows for cell in row.cells.values())


def table_key(table: MeasuredTable) -> str:
    """A name that no other measured table has: id, scale, data set and device class."""
    return f"{table.id}-{table.scale}-{table.dataset}-{table.device_class}"


def row_label(row: MeasuredRow) -> str:
    """The row's label, with a dagger where its published values are not checked."""
    published = any(cell.published is not None for cell in row.cells.values())
    return f"{row.label} †" if published and not row.certain else row.label


def shown_value(cell: Cell | None, *, published: bool) -> float | None:
    """The published value or our mean; None where there is none, or no cell."""
    if cell is None:
        return None
    return cell.published if published else cell.mean


def verdict_text(row: MeasuredRow) -> str:
    """What became of the row's runs where not all were healthy: "collapsed 3 of 3"."""
    total = sum(row.verdicts.values())
    bad = {name: count for name, count in row.verdicts.items() if name != "healthy" and count}
    return ", ".join(f"{name} {count} of {total}" for name, count in bad.items())


def ours_text(cell: Cell, column: MeasuredColumn, *, usual: int | None = None) -> str:
    """ "71.3 ± 0.4 (5)", "34.2 (exact)", "71.3 (1)", "71.3 ± 0.4 (3 of 5)", "not run" or "".

    A count of seeds equal to `usual` is left out: the table says it once.
    """
    if cell.mean is None:
        return STATES.get(cell.state, cell.state)
    count = f"{cell.n} of {len(cell.seeds)}" if cell.n < len(cell.seeds) else str(cell.n)
    digits = decimals(cell, column)
    mean = number(cell.mean, digits)
    if cell.constant:
        return f"{mean} (exact)"
    if cell.interval is not None:
        mean = f"{mean} ± {number(cell.interval, digits)}"
    return mean if cell.n == len(cell.seeds) == usual else f"{mean} ({count})"


def published_text(cell: Cell, column: MeasuredColumn) -> str:
    """The published value as printed, with its own ± where it had one; "" where none."""
    if cell.published is None:
        return ""
    text = _as_printed(cell.published, column)
    return text if cell.spread is None else f"{text} ± {_as_printed(cell.spread, column)}"


def difference_text(cell: Cell, column: MeasuredColumn) -> str:
    """Ours less published with its sign; "" where either is absent."""
    if cell.difference is None:
        return ""
    return number(cell.difference, decimals(cell, column), sign=True)


def decimals(cell: Cell, column: MeasuredColumn) -> int:
    """Decimals for a mean and its interval: one for points (two where the interval would read
    0.0), three significant digits for other units."""
    if cell.mean is None:
        return 1
    if column.unit in POINTS:
        return 2 if cell.interval and cell.interval < 0.05 else 1
    if cell.mean == 0:
        return 1
    return min(4, max(0, 2 - math.floor(math.log10(abs(cell.mean)))))


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """A rounded number with a true minus sign; a rounded zero has no sign."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def _as_printed(value: float, column: MeasuredColumn) -> str:
    if column.unit in POINTS and round(value, 1) == value:
        return number(value, 1)
    return f"{value:.6g}".replace("-", "−")


def _shared_prefix(names: list[str]) -> str:
    """ "second transform" for names that all start with "second transform: "."""
    prefixes = {name.rpartition(": ")[0] for name in names if ": " in name}
    shared = prefixes.pop() if len(prefixes) == 1 else ""
    return shared if sum(name.startswith(f"{shared}: ") for name in names) > 1 else ""


def with_unit(name: str, unit: str) -> str:
    """A column's name with its unit, unless it says an AP already."""
    return f"{name} ({unit})" if unit and not (unit == "AP" and "AP" in name) else name


def _headings(table: MeasuredTable, corner: str) -> Iterator[Heading]:
    parts = {column.key: _parts(table, column) for column in table.columns}
    alone = all(found == ("ours",) for found in parts.values())
    stacked = sum(len(found) > 1 for found in parts.values()) > SPREAD_OUT
    for column in table.columns:
        name = column.name.removeprefix(f"{corner}: ")
        name = with_unit(name, column.unit)
        found = parts[column.key]
        for part in ("both",) if stacked and len(found) > 1 else found:
            yield Heading(column=column, part=part, name=name, alone=alone)


def _parts(table: MeasuredTable, column: MeasuredColumn) -> tuple[Part, ...]:
    """What there is to show of a column."""
    cells = [row.cells[column.key] for row in table.rows if column.key in row.cells]
    published = any(cell.published is not None for cell in cells)
    if not any(cell.state != "published-only" for cell in cells):
        return ("published",)
    if not published:
        return ("ours",)
    return ("ours", "published") if column.protocol else ("ours", "published", "difference")


def _entry(table: MeasuredTable, row: MeasuredRow, heading: Heading, shade: float | None) -> Entry:
    column = heading.column
    cell = row.cells.get(column.key)
    if cell is None:
        return Entry(text="")
    texts = {
        "ours": ours_text(cell, column, usual=len(table.seeds) if heading.part == "both" else None),
        "published": published_text(cell, column),
        "difference": difference_text(cell, column),
    }
    if heading.part != "both":
        return Entry(text=texts[heading.part], shade=shade, note=cell.note)
    below = texts["published"]
    if texts["difference"]:
        below += f" ({texts['difference']})"
    text = f"{texts['ours'] or '—'}\n{below}" if below else texts["ours"]
    return Entry(text=text, shade=shade, note=cell.note)


def _shades(table: MeasuredTable, heading: Heading) -> dict[str, float]:
    """Row id to position between its column's worst (0) and best (1) row; {} where neither
    direction is better or fewer than two rows have a value. Where the rows differ by little more
    than their intervals, the best stays below 1: shading does not dress up noise."""
    column = heading.column
    if column.better == "none" or heading.part == "difference":
        return {}
    values: dict[str, float] = {}
    intervals = [0.0]
    for row in table.rows:
        cell = row.cells.get(column.key)
        value = shown_value(cell, published=heading.part == "published")
        if value is not None:
            values[row.id] = value if column.better == "higher" else -value
            intervals.append(row.cells[column.key].interval or 0.0)
    low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
    span = max(high - low, 4 * sum(intervals) / len(intervals))
    return {name: (v - low) / span for name, v in values.items()} if high > low else {}
