"""Columns that are computed from measured ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from sslbench.tables.results import CellState, MeasuredRow
from sslbench.tables.schema import Table

_WITHOUT_VALUE: tuple[CellState, ...] = ("missing", "failed", "diverged", "published-only")


def fill_derived(table: Table, rows: list[MeasuredRow]) -> list[MeasuredRow]:
    """The rows with the columns filled that have a `derive`."""
    shown = [c.key for c in table.columns if c.derive is None]
    for column in table.columns:
        key = column.key
        if column.derive == "minus_best":
            means = [m for row in rows if (m := row.cells[key].mean) is not None]
            rows = [_shifted(row, key, max(means)) for row in rows] if means else rows
        elif column.derive == "row_mean":
            share = dict.fromkeys(shown, 1 / len(shown))
            rows = [_combined(row, key, share) for row in rows]
        elif column.derive == "difference":
            signs = dict(zip(column.of, (1.0, -1.0), strict=True))
            rows = [_combined(row, key, signs) for row in rows]
    return rows


def _shifted(row: MeasuredRow, key: str, best: float) -> MeasuredRow:
    cell = row.cells[key]
    seeds = tuple((seed, None if v is None else v - best) for seed, v in cell.seeds)
    return replace(row, cells={**row.cells, key: replace(cell, seeds=seeds)})


def _combined(row: MeasuredRow, key: str, weights: Mapping[str, float]) -> MeasuredRow:
    """The weighted sum of measured columns, seed by seed where all of them have a value."""
    parts = [row.cells[name] for name in weights]
    values = [dict(cell.seeds) for cell in parts]
    shared = [s for s in values[0] if all(v.get(s) is not None for v in values)]
    seeds = tuple(
        (s, math.fsum(w * (v[s] or 0.0) for w, v in zip(weights.values(), values, strict=True)))
        for s in shared
    )
    states = {cell.state for cell in parts}
    state: CellState = (
        "measured" if seeds else next((s for s in _WITHOUT_VALUE if s in states), "missing")
    )
    return replace(row, cells={**row.cells, key: replace(row.cells[key], state=state, seeds=seeds)})
