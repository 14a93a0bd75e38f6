"""`report`: measured tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries

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
    """Print or write measured tables. A damaged result or run is named, and the rest goes on."""
    from sslbench.reports.write import FORMATS, write_reports

    if format_ not in (known := ["terminal", *FORMATS]):
        raise UserError(f"No format '{format_}'{did_you_mean(format_, known)}")
    measured = load_results(results, tables=tables, scale=scale, tell=_warn)
    if format_ == "terminal":
        from sslbench.reports.terminal import show_table

        for table in measured:
            show_table(table)
        return
    folder = out or Path("reports")
    where = runs if runs.is_dir() else None
    if where and format_ == "html":
        for sentence in unread_runs(measured, where):
            _warn(sentence)
    written = write_reports(measured, out=folder, formats=[format_], runs=where, analyses=analyses)
    for path in written:
        typer.echo(str(path))


def load_results(
    results: Path,
    *,
    tables: Sequence[str] | None,
    scale: str | None,
    tell: Callable[[str], None] | None = None,
) -> list[MeasuredTable]:
    """Measured tables under results/<scale>/<device class>/.

    Args:
        tell: is told of a damaged file, which is then left out; None raises.
    Raises:
        UserError: an unknown scale, no tables, or a named one is missing.
    """
    from sslbench.recipes.resolve import find_scale
    from sslbench.tables.results import MeasuredTable

    if scale is not None:
        find_scale(scale)
    paths = [
        path
        for folder in entries(results)
        if folder.name == scale or (scale is None and folder.name != "benchmarks")
        for device in entries(folder)
        for path in entries(device)
        if path.suffix == ".json" and not path.name.startswith(".")
    ]
    known = sorted({p.stem for p in paths})
    for name in tables or ():
        if name not in known:
            raise UserError(
                f"No measured table '{name}' under {results}{did_you_mean(name, known)}"
            )
    found = []
    for path in paths:
        if not tables or path.stem in tables:
            try:
                found.append(MeasuredTable.load(path))
            except UserError as error:
                if tell is None:
                    raise
                tell(str(error))
    if not found:
        raise UserError(
            f"No measured tables under {results / (scale or '')}; measure one with `sslbench "
            "ablate TABLE`."
        )
    return found


def unread_runs(tables: Sequence[MeasuredTable], runs: Path) -> Iterator[str]:
    """A sentence for each run of some tables whose files cannot be read, or not all lines."""
    from sslbench.engine.folder import RunFolder

    cells = (c for t in tables for row in (*t.rows, *t.baselines) for c in row.cells.values())
    for name in dict.fromkeys(name for cell in cells for name in cell.runs):
        folder = RunFolder(runs / name)
        try:
            folder.summary()
            unread = folder.log().unread
        except UserError as error:
            yield str(error)
            continue
        if unread:
            yield f"{folder.metrics_path}: {unread} lines cannot be read and are left out."


def _warn(sentence: str) -> None:
    typer.echo(f"sslbench: {sentence}", err=True)
