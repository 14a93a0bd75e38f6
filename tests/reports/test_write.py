"""All formats show the same numbers, and characters with a meaning lose it."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sslbench.errors import UserError
from sslbench.reports import latex, markdown
from sslbench.reports.display import grid
from sslbench.reports.terminal import show_table
from sslbench.reports.write import write_reports
from sslbench.tables.results import ClaimResult, MeasuredTable


def terminal_text(table: MeasuredTable, width: int) -> str:
    out = io.StringIO()
    show_table(table, console=Console(file=out, width=width))
    return out.getvalue()


def plain_latex(text: str) -> str:
    for symbol, command in (("±", r"$\pm$"), ("−", "$-$")):
        text = text.replace(command, symbol)
    return text


def test_all_formats_show_the_same_numbers(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    write_reports([stop_grad], out=tmp_path)
    texts = [
        (tmp_path / "report.html").read_text(),
        (tmp_path / "report.md").read_text(),
        plain_latex((tmp_path / "simsiam-stop-grad.tex").read_text()),
        terminal_text(stop_grad, width=140),
    ]
    shown = [entry.text for line in grid(stop_grad).lines for entry in line.entries if entry.text]
    assert len(shown) > 10
    for text in texts:
        assert all(number in text for number in shown)


def test_csv_keeps_every_seed_unrounded(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    (path,) = write_reports([stop_grad], out=tmp_path, formats=["csv"])
    frame = pd.read_csv(path)
    values = frame[(frame.row == "with") & (frame.column == "knn")].value.tolist()
    assert values == list(stop_grad.cell("with", "knn").values)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_terminal_width_cuts_a_number_off(augmentations: MeasuredTable, width: int) -> None:
    text = terminal_text(augmentations, width=width)
    cells = [
        part
        for row in grid(augmentations).lines
        for e in row.entries
        for part in e.text.split("\n")
    ]
    assert all(cell in text for cell in cells)
    assert max(map(len, text.splitlines())) <= width


def test_reports_are_the_same_every_time(
    stop_grad: MeasuredTable, runs: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_reports([stop_grad], out=tmp_path / name, runs=runs)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_unknown_format_is_refused(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'html'"):
        write_reports([stop_grad], out=tmp_path, formats=["htm"])
    assert not list(tmp_path.iterdir())


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sslbench ablate"):
        write_reports([], out=tmp_path)


def test_latex_escapes_labels(awkward: MeasuredTable) -> None:
    text = latex.latex_table(awkward)
    assert r"lr\_base \textless{} 0.1 \& wd \textgreater{} 5\% $\dagger$ &" in text
    assert r"no\_pred. \{x\} \$y\$ \#1 \textbar{} *z* &" in text
    assert r"\textbackslash{}" in latex.escape("\\input")


def test_latex_rows_have_as_many_cells_as_columns(augmentations: MeasuredTable) -> None:
    text = latex.latex_table(augmentations)
    width = len(re.search(r"begin\{tabular\}\{(l?r+)\}", text).group(1))  # type: ignore[union-attr]
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert len(body) == 7
    assert all(len(re.findall(r"(?<!\\)&", line)) == width - 1 for line in body)


def test_markdown_escapes_labels(awkward: MeasuredTable) -> None:
    text = markdown.markdown_table(awkward)
    assert r"lr\_base \< 0.1 &amp; wd \> 5%" in text
    assert "<script>" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:8]}
    assert pipes == {5}


def test_terminal_markup_in_labels_is_text(awkward: MeasuredTable) -> None:
    assert "<script>alert(1)</script>" in terminal_text(awkward, width=100)


def test_the_terminal_ends_with_the_verdicts_in_words(stop_grad: MeasuredTable) -> None:
    claims = (
        *stop_grad.claims,
        ClaimResult("words", "It is said in words.", None, "not measured", "a picture only"),
        ClaimResult("wrong", "a beats b.", "held", "not held", "a - b = -3 ± 1"),
    )
    lines = terminal_text(dataclasses.replace(stop_grad, claims=claims), width=200).splitlines()
    assert lines[-4:] == [
        "✓ Held: Without stop-gradient SimSiam collapses: accuracy is within twice chance "
        "(- without + 20 = 9.61 ± 0.3; 5 seeds).",
        "? Undecided: The std of the output is 1/√d with stop-gradient "
        "(with.std - 0.0625 = -0.0022 ± 0.004; 5 seeds).",
        "– Not measured: It is said in words (a picture only).",
        "✗ Not held: a beats b (a - b = -3 ± 1; 5 seeds).",
    ]


def test_another_protocol_is_named_in_every_format(
    stop_grad: MeasuredTable, tmp_path: Path
) -> None:
    """Ours and the published value stand side by side, and no format subtracts them."""
    column = dataclasses.replace(stop_grad.columns[0], protocol="online probe")
    rows = tuple(
        dataclasses.replace(
            row,
            cells={k: dataclasses.replace(c, comparable=k != "top1") for k, c in row.cells.items()},
        )
        for row in stop_grad.rows
    )
    table = dataclasses.replace(
        stop_grad, columns=(column, stop_grad.columns[1]), rows=rows, rank_agreement={}
    )
    write_reports([table], out=tmp_path)
    texts = [path.read_text() for path in tmp_path.iterdir() if path.suffix not in (".csv", ".svg")]
    for text in (*texts, terminal_text(table, width=120)):
        flat = re.sub(r"<style>.*?</style>|\s+", " ", text, flags=re.DOTALL)
        assert "online probe" in flat and "67.7" in flat
        assert "difference" not in flat
    frame = pd.read_csv(tmp_path / "cells.csv")
    top1 = frame[frame.column == "top1"]
    assert set(top1.published_protocol) == {"online probe"}
    assert top1.difference.isna().all() and top1.published.notna().any()


def test_a_table_with_minutes_has_its_plot_in_the_page_and_beside_the_text(
    timed: MeasuredTable, tmp_path: Path
) -> None:
    write_reports([timed], out=tmp_path, formats=["html", "markdown"])
    name = f"{timed.id}-time.svg"
    assert f"]({name})" in (tmp_path / "report.md").read_text()
    svg = (tmp_path / name).read_text()
    assert svg.startswith("<svg style=") and "training time (min)" in svg
    assert "Accuracy against training time" in (tmp_path / "report.html").read_text()
    assert svg.count("w/ stop-grad") == 1 and "raw pixels" not in svg


def test_a_table_without_minutes_has_no_such_plot(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    written = write_reports([stop_grad], out=tmp_path, formats=["markdown"])
    assert [path.name for path in written] == ["report.md", "verdicts.svg"]
    write_reports([stop_grad], out=tmp_path, formats=["html"])
    assert "Accuracy against training time" not in (tmp_path / "report.html").read_text()
