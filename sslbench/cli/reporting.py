"""`report`: measured tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sslbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sslbench.tables.results import MeasuredTable


def report(
    tables: Sequence[str] | None,
    *,
    format_: str,
    scale: str | None,
    out: Path | None,
    results: Path,
    runs: Path,
    analyses: Path,
) -> None:
    """Print or write measured tables."""
    from sslbench.reports.write import FORMATS, write_reports

    measured = load_results(results, tables=tables, scale=scale)
    if format_ == "terminal":
        from sslbench.reports.terminal import show_table

        for table in measured:
            show_table(table)
        return
    if format_ not in FORMATS:
        raise UserError(f"No format '{format_}'{did_you_mean(format_, ['terminal', *FORMATS])}")
    folder = out or Path("reports")
    where = runs if runs.is_dir() else None
    written = write_reports(measured, out=folder, formats=[format_], runs=where, analyses=analyses)
    for path in written:
        typer.echo(str(path))


def load_results(
    results: Path, *, tables: Sequence[str] | None, scale: str | None
) -> list[MeasuredTable]:
    """Measured tables under results/<scale>/<device class>/. Raises UserError when there are
    none, or a named one is missing."""
    from sslbench.tables.results import MeasuredTable

    paths = sorted(results.glob(f"{scale or '*'}/*/*.json"))
    found = [p for p in paths if p.parts[-3] != "benchmarks"]
    if tables:
        known = sorted({p.stem for p in found})
        for name in tables:
            if name not in known:
                raise UserError(
                    f"No measured table '{name}' under {results}{did_you_mean(name, known)}"
                )
        found = [p for p in found if p.stem in tables]
    if not found:
        raise UserError(
            f"No measured tables under {results}; measure one with `sslbench ablate TABLE`."
        )
    return [MeasuredTable.load(path) for path in found]
