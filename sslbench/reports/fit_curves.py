"""Losses of what protocols trained from the runs of a table's rows: detectors, segmenters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.npz import fit_curve
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scores import set_label
from sslbench.reports.curves import MAX_LINES, Series, over_seeds, run_names
from sslbench.tables.results import MeasuredColumn, MeasuredTable


def fit_curves(table: MeasuredTable, runs: Path) -> dict[str, list[Series]]:
    """Protocol and data set to one line a row: the mean over seeds of the loss against the step,
    the band from the lowest to the highest seed. Left out is what no run kept, and what more rows
    kept than can be told apart."""
    there = run_names(runs)
    found: dict[str, list[Series]] = {}
    for name, column in _measured(table).items():
        lines = [
            line
            for row in table.rows
            if (cell := row.cells.get(column.key)) is not None
            and (
                line := _line(table, column, row.label, [runs / n for n in cell.runs if n in there])
            )
        ]
        if 0 < len(lines) <= MAX_LINES:
            found[name] = lines
    return found


def _measured(table: MeasuredTable) -> dict[str, MeasuredColumn]:
    """A column of each protocol that trains on each data set, by what a plot of it is called."""
    found: dict[str, MeasuredColumn] = {}
    for column in table.columns:
        protocol = (column.metric or "").partition(":")[0]
        known = PROTOCOLS.get(protocol)
        if known is not None and known.passes(1) > 0:
            dataset = column.on.dataset if column.on else table.dataset
            found.setdefault(f"{protocol} on {dataset}: loss", column)
    return found


def _line(
    table: MeasuredTable, column: MeasuredColumn, label: str, paths: list[Path]
) -> Series | None:
    on = column.on or table
    protocol = (column.metric or "").partition(":")[0]
    logs: list[list[dict[str, Any]]] = []
    for folder in map(RunFolder, paths):
        try:
            name = set_label(folder, on.dataset, on.fingerprint)
            curve = fit_curve(folder.predictions_path(name, protocol))
        except UserError:  # damaged: the run, or what was kept of it, which `report RUN` names
            continue
        logs.append([{"step": step, "loss": loss} for step, loss in curve])
    return over_seeds(label, logs, "loss")
