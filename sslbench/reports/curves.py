"""Series for the plots: training curves over seeds from the runs' logs, and a table's sweeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.reports.display import shown_value
from sslbench.tables.results import MeasuredRow, MeasuredTable
from sslbench.tables.schema import Sweep, load_table, table_names

CURVES = {
    "loss": "training loss",
    "std": "std of the normalised output",
    "knn": "kNN monitor (%)",
}
MAX_LINES = 10  # more lines than this in one plot cannot be told apart
MAX_POINTS = 150  # per line, so that a page with many plots stays small


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a plot: `y` with a band from `low` to `high`, all as long as `x`."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    published: bool = False


def training_curves(table: MeasuredTable, runs: Path) -> dict[str, list[Series]]:
    """Metric name to one line per row: the mean over seeds against the step, the band from the
    lowest to the highest seed. {} where no log is found, or where the table has too many rows."""
    groups = [(label, _logged(names, runs)) for label, names in _run_groups(table)]
    groups = [(label, folders) for label, folders in groups if folders]
    if not 0 < len(groups) <= MAX_LINES:
        return {}
    logs = [(label, [_log(folder) for folder in folders]) for label, folders in groups]
    curves = {
        metric: [s for label, found in logs if (s := over_seeds(label, found, metric))]
        for metric in CURVES
    }
    return {metric: lines for metric, lines in curves.items() if lines}


def too_many_curves(table: MeasuredTable, runs: Path) -> bool:
    """Whether `training_curves` gives none because there would be too many lines."""
    found = (1 for _, names in _run_groups(table) if _logged(names, runs))
    return len(list(itertools.islice(found, MAX_LINES + 1))) > MAX_LINES


def ideal_std(table: MeasuredTable, runs: Path) -> float | None:
    """1/√D, the std of spread-out normalised outputs, or None where the runs' widths differ.

    Source: Chen and He 2021, Fig. 2 (middle).
    """
    names = [name for _, group in _run_groups(table) for name in group]
    finals = [_final(RunFolder(runs / name)) for name in names]
    widths = {final["out_dim"] for final in finals if final.get("out_dim")}
    return 1 / math.sqrt(widths.pop()) if len(widths) == 1 else None


def _log(folder: RunFolder) -> list[dict[str, Any]]:
    """The log's points; none of a damaged run, which the command has named."""
    try:
        return folder.metrics()
    except UserError:
        return []


def _final(folder: RunFolder) -> Mapping[str, float]:
    try:
        return folder.summary().get("final", {})
    except UserError:
        return {}


def sweeps_of(table: MeasuredTable) -> tuple[Sweep, ...]:
    """The curves that the table's definition asks for; none for a table we do not know."""
    return load_table(table.id).sweeps if table.id in table_names() else ()


def sweep_series(table: MeasuredTable, sweep: Sweep) -> list[Series]:
    """Ours and published along the swept axis, one line per column and value of `sweep.series`.

    Ours carries its 95 % interval as the band. Rows whose coordinate is not a number are left out.
    """
    out = []
    for key in sweep.columns:
        name = next(column.name for column in table.columns if column.key == key)
        for value, rows in _by_series(table, sweep).items():
            parts = ([name] if len(sweep.columns) > 1 else []) + ([value] if value else [])
            label = ", ".join(parts) or name
            out += [s for p in (False, True) if (s := _along(label, key, rows, published=p))]
    return out


def _run_groups(table: MeasuredTable) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(label, run names) for every line: a row, or a row's column where columns are runs of
    their own."""
    for row in table.rows:
        groups: dict[tuple[str, ...], list[str]] = {}
        for column in table.columns:
            cell = row.cells.get(column.key)
            if cell and cell.runs:
                groups.setdefault(cell.runs, []).append(column.name)
        for names, columns in groups.items():
            yield (f"{row.label}, {columns[0]}" if len(groups) > 1 else row.label), names


def _logged(names: Sequence[str], runs: Path) -> list[RunFolder]:
    """The runs whose log is there."""
    folders = [RunFolder(runs / name) for name in names]
    return [f for f in folders if f.metrics_path.is_file() and f.metrics_path.stat().st_size]


def over_seeds(
    label: str, logs: Sequence[Sequence[Mapping[str, Any]]], metric: str
) -> Series | None:
    """The mean of a metric over runs against the step, with a band from the lowest to the highest;
    None below two steps that have it."""
    by_step: dict[int, list[float]] = {}
    for log in logs:
        for point in log:
            value = point.get(metric)
            if isinstance(value, int | float) and math.isfinite(value):
                by_step.setdefault(point["step"], []).append(float(value))
    if len(by_step) < 2:
        return None
    steps = _thin(sorted(by_step))
    return Series(
        label=label,
        x=tuple(float(step) for step in steps),
        y=tuple(math.fsum(by_step[s]) / len(by_step[s]) for s in steps),
        low=tuple(min(by_step[s]) for s in steps),
        high=tuple(max(by_step[s]) for s in steps),
    )


def _thin(steps: list[int]) -> list[int]:
    """At most MAX_POINTS of the steps, evenly, the last one kept."""
    stride = math.ceil(len(steps) / MAX_POINTS)
    return steps[::-stride][::-1]


def _by_series(table: MeasuredTable, sweep: Sweep) -> dict[str, list[tuple[float, MeasuredRow]]]:
    found: dict[str, list[tuple[float, MeasuredRow]]] = {}
    for row in table.rows:
        x = row.key.get(sweep.x)
        if isinstance(x, int | float) and not isinstance(x, bool) and (x > 0 or not sweep.log2):
            value = str(row.key.get(sweep.series, "")) if sweep.series else ""
            found.setdefault(value, []).append((float(x), row))
    return {value: sorted(rows, key=lambda pair: pair[0]) for value, rows in found.items()}


def _along(
    label: str, key: str, rows: list[tuple[float, MeasuredRow]], *, published: bool
) -> Series | None:
    points = []
    for place, row in rows:
        cell = row.cells.get(key)
        value = shown_value(cell, published=published)
        if cell is not None and value is not None:
            half = (cell.spread if published else cell.interval) or 0.0
            points.append((place, value, value - half, value + half))
    if len(points) < 2:
        return None
    x, y, low, high = zip(*points, strict=True)
    return Series(label=label, x=x, y=y, low=low, high=high, published=published)
