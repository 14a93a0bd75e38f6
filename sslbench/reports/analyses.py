"""Analyses for people: files with figure and numbers, and a table in the terminal."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis
from sslbench.files import write_atomically
from sslbench.reports.display import number
from sslbench.reports.figures import FIGURES
from sslbench.reports.panels import MAX_RUNS, short_names

KEYS = ("run", "dataset", "image", "class", "space", "head", "batch_size", "class_prior")


def write_analysis(analysis: Analysis, out: Path) -> list[Path]:
    """Write <name>.svg, <name>.png, <name>.csv (the summary) and <name>.points.csv under `out`.

    Everything is drawn before the first file is written, and each is written whole or not at all.

    Returns:
        The files, the figure first.
    Raises:
        UserError: more runs than a figure can show, or a folder that cannot be written.
    """
    runs = {record["run"] for record in analysis.summary}
    if analysis.name != "landscape" and len(runs) > MAX_RUNS:
        raise UserError(f"{len(runs)} runs are too many for a figure; give at most {MAX_RUNS}.")
    files: dict[str, bytes | str] = dict(_render(analysis))
    files["csv"] = pd.DataFrame(analysis.summary).to_csv(index=False)
    if analysis.points:
        files["points.csv"] = pd.DataFrame(analysis.points).to_csv(index=False)
    for suffix, content in files.items():
        write_atomically(out / f"{analysis.name}.{suffix}", content)
    return [out / f"{analysis.name}.{suffix}" for suffix in files]


def show_analysis(analysis: Analysis, *, console: Console | None = None) -> None:
    """Print the summary as a table, what all lines share once above it, and the notes below."""
    console = console or Console()
    labels = short_names([record["run"] for record in analysis.summary])
    records = [record | {"run": labels[record["run"]]} for record in analysis.summary]
    first = records[0]
    shared = [k for k in first if len(records) > 1 and all(r[k] == first[k] for r in records)]
    if shared:
        console.print(Text(", ".join(f"{_plain(k)} {_shown(first[k])}" for k in shared)))
    for columns in _blocks(records, [k for k in first if k not in shared], console.width):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            justify: Literal["left", "right"] = "left" if isinstance(first[name], str) else "right"
            heading = textwrap.fill(_plain(name), _width(records, name) - 2)
            table.add_column(heading, justify=justify, vertical="bottom", no_wrap=True)
        for record in records:
            table.add_row(*(Text(_shown(record[name])) for name in columns))
        console.print(table)
    for note in analysis.notes:
        console.print(Text(f"· {note}", style="bright_black"))


def _render(analysis: Analysis) -> Iterator[tuple[str, bytes]]:
    """(suffix, file content) of the figure as SVG, whose text stays text, and as PNG."""
    from matplotlib import rc_context

    style = {
        "svg.fonttype": "none", "svg.hashsalt": analysis.name, "font.size": 9,
        "axes.titlesize": 9, "text.parse_math": False,
    }  # fmt: skip
    with rc_context(cast("Any", style)):
        figure = FIGURES[analysis.name](analysis)
        for suffix, metadata in (("svg", {"Date": None}), ("png", {})):
            out = io.BytesIO()
            figure.savefig(out, format=suffix, dpi=160, facecolor="white", metadata=metadata)
            yield suffix, out.getvalue()


def _blocks(records: list[dict[str, Any]], columns: list[str], room: int) -> list[list[str]]:
    """Columns that fit side by side, each block led by those that tell the lines apart."""
    keys = [name for name in columns if name in KEYS]
    blocks = [list(keys)]
    used = start = sum(_width(records, name) for name in keys)
    for name in (name for name in columns if name not in KEYS):
        if len(blocks[-1]) > len(keys) and used + _width(records, name) > room:
            blocks.append(list(keys))
            used = start
        blocks[-1].append(name)
        used += _width(records, name)
    return blocks


def _width(records: list[dict[str, Any]], name: str) -> int:
    """Characters of a column with its gap; a heading wraps between words."""
    return 2 + max(len(t) for t in (*name.split("_"), *(_shown(r[name]) for r in records)))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    if 0 < abs(value) < 5e-4:
        return f"{value:.1e}"
    return number(value, 1 if abs(value) >= 10 else 3)
