"""Columns that are computed from measured ones."""

from __future__ import annotations

import math
from dataclasses import replace

from sslbench.tables.results import CellState, MeasuredRow
from sslbench.tables.schema import Table


def fill_derived(table: Table, rows: list[MeasuredRow]) -> list[MeasuredRow]:
    """The rows with the columns filled that have a `derive`."""
    for column in table.columns:
        if column.derive == "minus_best":
            means = [m for row in rows if (m := row.cells[column.key].mean) is not None]
            rows = [_shifted(row, column.key, max(means)) for row in rows] if means else rows
        elif column.derive == "row_mean":
            rows = [_averaged(row, column.key, table) for row in rows]
    return rows


def _shifted(row: MeasuredRow, key: str, best: float) -> MeasuredRow:
    cell = row.cells[key]
    seeds = tuple((seed, None if v is None else v - best) for seed, v in cell.seeds)
    return replace(row, cells={**row.cells, key: replace(cell, seeds=seeds)})


def _averaged(row: MeasuredRow, key: str, table: Table) -> MeasuredRow:
    """The mean over the row's measured columns, seed by seed where all of them have a value."""
    cells = [row.cells[c.key] for c in table.columns if c.derive is None]
    values = [dict(cell.seeds) for cell in cells]
    shared = [s for s in values[0] if all(v.get(s) is not None for v in values)]
    seeds = tuple((s, math.fsum(v[s] or 0.0 for v in values) / len(values)) for s in shared)
    state: CellState = "measured" if seeds else "missing"
    mean = replace(row.cells[key], state=state, seeds=seeds)
    return replace(row, cells={**row.cells, key: mean})
