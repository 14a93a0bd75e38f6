"""Write measured tables to files in every format asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from sslbench.errors import UserError, did_you_mean
from sslbench.files import write_atomically
from sslbench.reports.outline import outline
from sslbench.reports.tuning_figures import studies
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table
from sslbench.tuning.record import Record

FORMATS = ("html", "markdown", "csv", "latex")


def write_reports(
    tables: Sequence[MeasuredTable],
    *,
    out: Path,
    formats: Collection[str] = FORMATS,
    runs: Path | None = None,
    analyses: Path | None = None,
    absent: Sequence[Table] = (),
    tuning: Sequence[Record] = (),
) -> list[Path]:
    """Write report.html, report.md (with verdicts.svg, and <table>-time.svg where a table has
    minutes), cells.csv (every seed) and <table>.tex under `out`.

    Args:
        tables: all measurements; they are shown in the lecture's order.
        formats: of FORMATS.
        runs: the folder of run folders, for the training curves of the HTML page.
        analyses: a folder of figures of `sslbench analyze`, for the end of the HTML page.
        absent: tables that were not measured, to name them on pages.
        tuning: studies, for the end of both pages.
    Returns:
        The files written.
    Raises:
        UserError: no tables, an unknown format, or a folder that cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"No report format '{name}'{did_you_mean(name, FORMATS)}")
    if not tables:
        raise UserError("No measured table to report; measure one with `sslbench ablate` first.")
    written: dict[Path, str] = {}
    for name in FORMATS:
        if name in formats:
            texts = _texts(name, tables, runs, analyses, absent, tuning)
            written |= {out / file: text for file, text in texts.items()}
    for path, text in written.items():
        write_atomically(path, text)
    return list(written)


def _texts(
    name: str,
    tables: Sequence[MeasuredTable],
    runs: Path | None,
    analyses: Path | None,
    absent: Sequence[Table],
    tuning: Sequence[Record],
) -> dict[str, str]:
    """File name to content."""
    if name == "html":
        from sslbench.reports.html import html_report

        page = html_report(
            tables, runs=runs, analyses=analyses, absent=absent, tuning=studies(tuning)
        )
        return {"report.html": page}
    if name == "markdown":
        from sslbench.reports.markdown import markdown_files
        from sslbench.reports.tuning_markdown import with_studies

        return with_studies(markdown_files(tables, absent=absent), tuning)
    if name == "csv":
        from sslbench.reports.frames import long_frame

        return {"cells.csv": long_frame(tables).to_csv(index=False)}
    from sslbench.reports.latex import latex_table

    return {
        f"{name}.tex": latex_table(table)
        for entry in outline(tables)
        for name, table in zip(entry.names, entry.tables, strict=True)
    }
