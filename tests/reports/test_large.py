"""Tables of thousands of rows: every row is there or counted, and nothing grows without need."""

from __future__ import annotations

import dataclasses
import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sslbench.reports.company import not_measured
from sslbench.reports.html import html_report
from sslbench.reports.markdown import markdown_files
from sslbench.reports.terminal import show_table
from sslbench.tables.results import Cell, MeasuredTable
from tests.reports.conftest import MINUTES, TOP1, cell, row, table


def large(count: int) -> MeasuredTable:
    """A sweep with two columns; every row has a note, every tenth has no number yet."""
    rows = []
    for i in range(count):
        accuracy = Cell(state="missing") if i % 10 == 9 else cell([50.0 + i % 7, 51.0], 60.0)
        cells = {"top1": accuracy, "minutes": cell([3.0 + i % 5, 3.1])}
        rows.append(row(f"r{i}", f"setting {i}", cells, note="a note"))
    return table("sweep", "A sweep", [TOP1, MINUTES], rows)


@pytest.fixture(scope="module")
def sweep() -> MeasuredTable:
    return large(1500)


def test_rows_beyond_the_first_are_folded_and_all_are_on_the_page(sweep: MeasuredTable) -> None:
    text = html_report([sweep])
    open_part, _, folded = text.partition("<summary>Rows 201 to 1,200</summary>")
    assert len(set(re.findall(r">setting \d+<", open_part))) == 200
    assert "Rows 1,201 to 1,500" in folded
    assert len(set(re.findall(r'<th scope="row">setting \d+', text))) == 1500
    assert "1461 more" in text  # notes; the first 40 are shown


def test_a_plot_of_many_rows_is_no_larger_and_says_how_many(sweep: MeasuredTable) -> None:
    (svg,) = (v for k, v in markdown_files([sweep]).items() if k.endswith(".svg"))
    assert len(svg) < 300_000
    assert "data:image/png" in svg
    assert "1,500 rows, too many to name" in html_report([sweep])


def test_a_terminal_shows_the_first_rows_and_counts_the_rest(sweep: MeasuredTable) -> None:
    out = io.StringIO()
    show_table(sweep, console=Console(width=100, file=out))
    text = out.getvalue()
    assert "setting 199" in text and "setting 200 " not in text
    assert "1,300 more rows of 1,500: --format html, markdown or csv" in text
    assert "more notes: --format html or markdown" in text


def test_markdown_has_every_row(sweep: MeasuredTable) -> None:
    lines = markdown_files([sweep])["report.md"].splitlines()
    assert sum(line.startswith("| setting ") for line in lines) == 1500


def test_a_sentence_names_fifty_rows_and_counts_the_others(sweep: MeasuredTable) -> None:
    (sentence,) = not_measured(sweep)
    assert sentence.count("setting") == 50
    assert sentence.endswith("; and 100 more rows: not run yet.")


def test_more_curves_than_colours_are_left_out_with_a_sentence(
    runs: Path, stop_grad: MeasuredTable
) -> None:
    few = html_report([stop_grad], runs=runs)
    assert "could not be told apart" not in few
    rows = [dataclasses.replace(stop_grad.rows[0], id=f"r{i}") for i in range(11)]
    many = html_report([dataclasses.replace(stop_grad, rows=tuple(rows))], runs=runs)
    assert "More than 10 rows have a log" in many


@pytest.mark.slow
@pytest.mark.parametrize("write", [markdown_files, html_report], ids=["markdown", "html"])
def test_twenty_thousand_rows_take_seconds(write: Callable[..., object]) -> None:
    whole = large(20_000)
    begin = time.perf_counter()
    write([whole])
    assert time.perf_counter() - begin < 60  # ten on an idle core; it was minutes
