from __future__ import annotations

import pytest

from sslbench.reports.frames import LONG_COLUMNS, long_frame, number_frame, wide_frame
from sslbench.tables.results import MeasuredTable


def test_long_frame_has_a_line_for_every_seed(stop_grad: MeasuredTable) -> None:
    frame = long_frame([stop_grad])
    cell = frame[(frame.row == "with") & (frame.column == "top1")]
    values = stop_grad.cell("with", "top1").values
    assert list(frame.columns) == list(LONG_COLUMNS)
    assert cell.seed.tolist() == [0, 1, 2, 3, 4]
    assert cell.value.tolist() == pytest.approx(values)
    assert (cell.published == 67.7).all()


def test_a_cell_without_seeds_keeps_a_line(awkward: MeasuredTable) -> None:
    frame = long_frame([awkward])
    missing = frame[frame.row == "d"]
    assert len(missing) == 1
    assert missing.seed.isna().all()
    assert missing.state.tolist() == ["missing"]


def test_long_frame_joins_tables(stop_grad: MeasuredTable, awkward: MeasuredTable) -> None:
    assert set(long_frame([stop_grad, awkward]).table) == {"simsiam-stop-grad", "awkward"}


def test_baselines_are_marked(stop_grad: MeasuredTable) -> None:
    frame = long_frame([stop_grad])
    assert set(frame[frame.baseline].row) == {"untrained", "raw-pixels"}


def test_wide_frame_is_the_table_as_shown(stop_grad: MeasuredTable) -> None:
    frame = wide_frame(stop_grad)
    assert frame.loc["w/ stop-grad", ("linear (%)", "published")] == "67.7 ± 0.1"
    assert frame.loc["raw pixels", ("linear (%)", "ours")] == "24.4 (exact)"


def test_number_frame_has_the_cells_as_numbers(stop_grad: MeasuredTable) -> None:
    frame = number_frame(stop_grad)
    cell = stop_grad.cell("with", "top1")
    shown = frame.loc["with", "top1"]
    assert shown.to_dict() == {
        "mean": pytest.approx(cell.mean),
        "interval": pytest.approx(cell.interval),
        "n": cell.n,
        "published": cell.published,
    }
    assert frame.attrs["table"] == stop_grad.id and frame.attrs["scale"] == stop_grad.scale


def test_number_frame_of_some_rows_keeps_the_baselines(stop_grad: MeasuredTable) -> None:
    frame = number_frame(stop_grad, rows=["without"])
    assert list(frame.index) == ["without", *(row.id for row in stop_grad.baselines)]
    assert frame.loc["untrained", "top1"].isna()["published"]
