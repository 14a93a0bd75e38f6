from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.reports.curves import (
    MAX_POINTS,
    ideal_std,
    sweep_series,
    training_curves,
)
from sslbench.tables.results import Cell, MeasuredTable
from sslbench.tables.schema import Sweep


def test_one_line_a_row_with_the_band_over_seeds(stop_grad: MeasuredTable, runs: Path) -> None:
    curves = training_curves(stop_grad, runs)
    assert list(curves) == ["loss", "std", "knn"]
    assert [line.label for line in curves["loss"]] == ["w/ stop-grad", "w/o stop-grad"]
    loss = curves["loss"][0]
    logs = [RunFolder(runs / n).metrics()[0]["loss"] for n in stop_grad.rows[0].cells["top1"].runs]
    assert loss.low[0] == min(logs)
    assert loss.high[0] == max(logs)
    assert loss.y[0] == pytest.approx(sum(logs) / 5)


def test_points_without_the_metric_are_left_out(stop_grad: MeasuredTable, runs: Path) -> None:
    assert training_curves(stop_grad, runs)["knn"][0].x == tuple(range(40, 401, 40))


def test_values_that_are_not_finite_are_left_out(stop_grad: MeasuredTable, runs: Path) -> None:
    path = RunFolder(runs / stop_grad.rows[0].cells["top1"].runs[0]).metrics_path
    path.write_text(path.read_text() + '{"step": 410, "loss": NaN}\n')
    assert training_curves(stop_grad, runs)["loss"][0].x[-1] == 400


def test_long_logs_are_thinned_and_keep_their_end(stop_grad: MeasuredTable, runs: Path) -> None:
    path = RunFolder(runs / stop_grad.rows[0].cells["top1"].runs[0]).metrics_path
    path.write_text("".join(f'{{"step": {i}, "loss": 0.5}}\n' for i in range(1, 5001)))
    line = training_curves(stop_grad, runs)["loss"][0]
    assert len(line.x) <= MAX_POINTS
    assert line.x[-1] == 5000


def test_no_logs_no_curves(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    assert training_curves(stop_grad, tmp_path) == {}
    assert ideal_std(stop_grad, tmp_path) is None


def test_ideal_std_is_one_over_the_root_of_the_width(stop_grad: MeasuredTable, runs: Path) -> None:
    assert ideal_std(stop_grad, runs) == 1 / 16


def test_sweep_runs_along_its_axis_in_order(
    make_table: Callable[..., MeasuredTable], make_cell: Callable[..., Cell]
) -> None:
    table = make_table({str(b): make_cell([50.0, 52.0], 60.0 + b / 256) for b in (512, 256, 1024)})
    rows = tuple(dataclasses.replace(row, key={"batch": int(row.id)}) for row in table.rows)
    table = dataclasses.replace(table, rows=rows)
    sweep = Sweep(id="s", title="s", x="batch", columns=("top1",))
    ours, published = sweep_series(table, sweep)
    assert ours.x == published.x == (256, 512, 1024)
    assert ours.y == (51, 51, 51)
    assert ours.low[0] < 51 < ours.high[0]
    assert published.y == (61, 62, 64)
    assert published.published
