from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from sslbench.reports.display import (
    difference_text,
    grid,
    legend,
    number,
    ours_text,
    published_text,
)
from sslbench.tables.results import Cell, MeasuredColumn, MeasuredTable

MakeCell = Callable[..., Cell]


@pytest.fixture
def top1(stop_grad: MeasuredTable) -> MeasuredColumn:
    return stop_grad.columns[0]


def test_points_have_one_decimal_and_the_number_of_seeds(
    make_cell: MakeCell, top1: MeasuredColumn
) -> None:
    assert ours_text(make_cell([70.0, 71.0, 72.0]), top1) == "71.0 ± 2.5 (3)"


def test_an_interval_that_would_read_zero_gets_a_second_decimal(
    make_cell: MakeCell, top1: MeasuredColumn
) -> None:
    assert ours_text(make_cell([10.0, 10.01, 10.02]), top1) == "10.01 ± 0.02 (3)"


def test_one_seed_has_no_interval(make_cell: MakeCell, top1: MeasuredColumn) -> None:
    assert ours_text(make_cell([70.04]), top1) == "70.0 (1)"


def test_a_constant_is_exact(make_cell: MakeCell, top1: MeasuredColumn) -> None:
    assert ours_text(make_cell([24.4], constant=True), top1) == "24.4 (exact)"


def test_seeds_that_diverged_are_counted(make_cell: MakeCell, top1: MeasuredColumn) -> None:
    assert ours_text(make_cell([70.0, None, 70.0]), top1) == "70.0 ± 0.0 (2 of 3)"


@pytest.mark.parametrize(
    ("state", "text"),
    [("diverged", "diverged"), ("failed", "failed"), ("missing", "not run")],
)
def test_a_cell_without_a_number_says_why(state: str, text: str, top1: MeasuredColumn) -> None:
    assert ours_text(Cell(state=state), top1) == text  # type: ignore[arg-type]


def test_published_values_keep_their_printed_digits(
    make_cell: MakeCell, top1: MeasuredColumn
) -> None:
    assert published_text(make_cell([1.0], 67.0), top1) == "67.0"
    assert published_text(make_cell([1.0], 67.25), top1) == "67.25"
    assert published_text(make_cell([1.0], 67.7, spread=0.1), top1) == "67.7 ± 0.1"


def test_differences_are_signed_and_zero_is_not(make_cell: MakeCell, top1: MeasuredColumn) -> None:
    assert difference_text(make_cell([70.0], 71.5), top1) == "−1.5"
    assert difference_text(make_cell([72.0], 71.5), top1) == "+0.5"
    assert number(-0.01, 1, sign=True) == "0.0"


def test_other_units_have_three_significant_digits(
    make_cell: MakeCell, std_column: MeasuredColumn
) -> None:
    assert ours_text(make_cell([0.06031]), std_column) == "0.0603 (1)"
    assert ours_text(make_cell([312.4]), std_column) == "312 (1)"


def test_shades_run_from_worst_to_best(stop_grad: MeasuredTable) -> None:
    best, worst, *baselines = grid(stop_grad).lines
    assert best.entries[0].shade == 1
    assert worst.entries[0].shade == 0
    assert all(line.entries[0].shade is None for line in baselines)


def test_shades_of_a_loss_favour_the_lowest(
    make_table: Callable[..., MeasuredTable], make_cell: MakeCell, loss_column: MeasuredColumn
) -> None:
    table = make_table({"low": make_cell([0.1]), "high": make_cell([0.9])}, column=loss_column)
    assert [line.entries[0].shade for line in grid(table).lines] == [1, 0]


def test_many_columns_put_published_below_ours(augmentations: MeasuredTable) -> None:
    shown = grid(augmentations)
    assert {heading.part for heading in shown.headings} == {"both"}
    assert shown.corner == "second transform"
    assert shown.headings[0].name == "crop (%)"
    ours, published = shown.lines[0].entries[2].text.split("\n")
    assert ours.startswith("44.4 ± ")
    assert published.startswith("43.8 (+0.")


def test_columns_without_published_values_show_ours_alone(stop_grad: MeasuredTable) -> None:
    parts = [h.part for h in grid(stop_grad).headings if h.column.key == "knn"]
    assert parts == ["ours"]


def test_a_collapse_is_named_beside_its_row(stop_grad: MeasuredTable) -> None:
    assert [line.verdict for line in grid(stop_grad).lines[:2]] == ["", "collapsed 5 of 5"]


def test_another_protocol_is_named_and_has_no_difference(
    make_table: Callable[..., MeasuredTable], make_cell: MakeCell, top1: MeasuredColumn
) -> None:
    column = dataclasses.replace(top1, protocol="online probe")
    cells = {n: make_cell([70.0, 71.0], 90.0, comparable=False) for n in ("a", "b", "c")}
    table = make_table(cells, column=column)
    shown = grid(table)
    assert [h.part_name for h in shown.headings] == ["ours", "published (online probe)"]
    assert "difference" not in legend(table)
    assert difference_text(cells["a"], column) == ""
