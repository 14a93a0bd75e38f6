"""`report`: measured tables and one's own runs, for people."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslbench.cli import options as o
from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries, write_atomically

if TYPE_CHECKING:
    from sslbench.reports.runs.collect import Collection
    from sslbench.tables.results import MeasuredTable
    from sslbench.tables.schema import Table

RUN_FORMATS = ("terminal", "html", "markdown")
NO_TABLES = ("benchmarks", "tuning")  # folders of results that hold something else


@dataclass(frozen=True, kw_only=True)
class Report(o.Results, o.Runs):
    """Measured tables, or one's own runs, for people: terminal, Markdown, one HTML page."""

    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tables, or their files (default: all tables); or runs: folder, start of names, "
            "folder of runs."
        ),
    ] = None
    format_: Annotated[
        str,
        typer.Option("--format", help="terminal, markdown or html; of tables also csv or latex."),
    ] = "terminal"
    scale: Annotated[str | None, typer.Option(help="Only this scale's results.")] = None
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: reports/.")] = None
    readme: Annotated[
        Path | None,
        typer.Option(help="A README whose part between the report's markers is written anew."),
    ] = None
    analyses: Annotated[
        Path, typer.Option(help="Figures of `sslbench analyze` for the end of the HTML page.")
    ] = Path("analyses")

    def __call__(self) -> None:
        """Print or write measured tables, or the runs that are named instead."""
        from sslbench.tables.schema import table_id

        names = [table_id(name) for name in self.what or ()]
        found = find_runs(names, results=self.results, runs=self.runs)
        if found is None:
            self._tables(names)
            return
        if self.scale is not None:
            raise UserError(
                "--scale chooses among measured tables; name the runs you want instead."
            )
        self._runs(found)

    def _runs(self, collection: Collection) -> None:
        from sslbench.reports.runs.view import view

        if self.format_ not in RUN_FORMATS:
            hint = did_you_mean(self.format_, RUN_FORMATS)
            raise UserError(f"No format '{self.format_}' of a report of runs{hint}")
        if self.readme is not None:
            raise UserError("--readme shows measured tables; name tables, or nothing.")
        shown = view(collection)
        if self.format_ == "terminal":
            from sslbench.reports.runs.terminal import show_runs

            show_runs(shown)
            return
        if self.format_ == "html":
            from sslbench.reports.runs.html import html_page

            text, name = html_page(shown, analyses=self.analyses), "runs.html"
        else:
            from sslbench.reports.runs.markdown import markdown_page

            text, name = markdown_page(shown), "runs.md"
        path = self._folder() / name
        write_atomically(path, text)
        typer.echo(str(path))

    def _tables(self, names: Sequence[str]) -> None:
        """Tables as they are asked for. A damaged result or run is named, and the rest goes on."""
        from sslbench.reports.readme import update_readme
        from sslbench.reports.terminal import show_headline, show_table, show_verdicts
        from sslbench.reports.tuning_figures import load_records
        from sslbench.reports.write import FORMATS, write_reports

        if self.readme is not None and self.format_ != "markdown":
            raise UserError("--readme shows what --format markdown writes; give both.")
        if self.format_ not in (known := ["terminal", *FORMATS]):
            raise UserError(f"No format '{self.format_}'{did_you_mean(self.format_, known)}")
        measured = load_results(self.results, tables=names, scale=self.scale, tell=_warn)
        absent = [] if names or self.scale else tables_without(measured)
        if self.format_ == "terminal":
            from sslbench.reports.outline import outline
            from sslbench.reports.overview import headline

            entries = outline(measured)
            for table in (table for entry in entries for table in entry.tables):
                show_table(table)
            if len(entries) > 1:
                show_headline(headline(entries, absent))
            return
        for table in measured:
            if sentence := without_definition(table):
                _warn(sentence)
        where = self.runs if self.runs.is_dir() else None
        if where and self.format_ == "html":
            for sentence in unread_runs(measured, where):
                _warn(sentence)
        tuning = load_records(self.results, tell=_warn) if not names else []
        written = write_reports(
            measured, out=self._folder(), formats=[self.format_], runs=where,
            analyses=self.analyses, absent=absent, tuning=tuning,
        )  # fmt: skip
        if self.readme is not None:
            update_readme(self.readme, measured, absent=absent, out=self._folder())
            written.append(self.readme)
        for path in written:
            typer.echo(str(path))
        if len(measured) == 1:
            show_verdicts(measured[0])

    def _folder(self) -> Path:
        return self.out or Path("reports")


def find_runs(names: Sequence[str], *, results: Path, runs: Path) -> Collection | None:
    """The runs that are meant; None where tables are.

    A measured table's whole name means the table, on every data set that it was measured on;
    anything else is a run folder, a folder of them, or the start of runs' names.

    Raises:
        UserError: a word is neither, or the words are of both kinds.
    """
    from sslbench.reports.runs.collect import collect, run_paths

    files = _result_files(results)
    tables = {path.stem for path in files}
    paths: list[Path] = []
    others: list[Path] = []
    wanted = [name for name in names if not any(_is_of(path, name) for path in files)]
    if not wanted:
        return None
    for name in wanted:
        found, rest = run_paths(name, runs)
        if not found:
            near = (path.name for path in entries(runs) if path.is_dir())
            known = [*sorted(tables), *itertools.islice(near, 50)]
            raise UserError(
                f"No measured table '{name}' under {results}, and no run '{name}' under {runs}"
                + did_you_mean(name, known)
            )
        paths += found
        others += rest
    if len(wanted) < len(names):
        table = next(name for name in names if name not in wanted)
        raise UserError(
            f"'{table}' is a table and '{wanted[0]}' a run: each kind has a report of its own; "
            "name one kind at a time."
        )
    return collect(paths, others=[p for p in others if Path(p).parent in map(Path, wanted)])


def load_results(
    results: Path,
    *,
    tables: Sequence[str] | None,
    scale: str | None,
    tell: Callable[[str], None] | None = None,
) -> list[MeasuredTable]:
    """Measured tables under results/<scale>/<device class>/, with today's claims judged on their
    cells.

    Args:
        tell: is told of a damaged file, which is then left out; None raises.
    Raises:
        UserError: an unknown scale, no tables, or a named one is missing.
    """
    from sslbench.recipes.resolve import find_scale
    from sslbench.tables.judging import judged
    from sslbench.tables.results import MeasuredTable

    if scale is not None:
        find_scale(scale)
    paths = _result_files(results, scale)
    known = sorted({p.stem for p in paths})
    for name in tables or ():
        if not any(_is_of(path, name) for path in paths):
            raise UserError(
                f"No measured table '{name}' under {results}{did_you_mean(name, known)}"
            )
    found = []
    for path in paths:
        if not tables or any(_is_of(path, name) for name in tables):
            try:
                found.append(judged(MeasuredTable.load(path)))
            except UserError as error:
                if tell is None:
                    raise
                tell(str(error))
    if not found:
        raise UserError(
            f"No measured tables under {results / (scale or '')}; measure one with `sslbench "
            "ablate TABLE`, or name runs: `sslbench report runs`."
        )
    return found


def tables_without(measured: Sequence[MeasuredTable]) -> list[Table]:
    """The program's tables that have no measurement, in the lecture's order."""
    from sslbench.tables.lecture import table_order
    from sslbench.tables.schema import load_table

    there = {table.id for table in measured}
    return [load_table(name) for name in table_order() if name not in there]


def _is_of(path: Path, name: str) -> bool:
    """Whether a result's file is named so, or is the table of that id on some data set."""
    from sslbench.data.registry import DATASETS

    return path.stem == name or path.stem.removeprefix(f"{name}-") in DATASETS


def _result_files(results: Path, scale: str | None = None) -> list[Path]:
    return [
        path
        for folder in entries(results)
        if folder.name == scale or (scale is None and folder.name not in NO_TABLES)
        for device in entries(folder)
        for path in entries(device)
        if path.suffix == ".json" and not path.name.startswith(".")
    ]


def unread_runs(tables: Sequence[MeasuredTable], runs: Path) -> Iterator[str]:
    """A sentence for each run of some tables whose files cannot be read, or not all lines."""
    from sslbench.engine.folder import RunFolder
    from sslbench.reports.curves import run_names, too_many_curves

    there = run_names(runs)
    for table in tables:
        drawn = not too_many_curves(table, runs)  # else no log is looked at
        cells = (c for row in (*table.rows, *table.baselines) for c in row.cells.values())
        for name in dict.fromkeys(n for cell in cells for n in cell.runs if n in there):
            folder = RunFolder(runs / name)
            try:
                folder.summary()
                unread = folder.log().unread if drawn else 0
            except UserError as error:
                yield str(error)
                continue
            if unread:
                yield f"{folder.metrics_path}: {unread} lines cannot be read and are left out."


def without_definition(table: MeasuredTable) -> str:
    """What is lacking where there is a table's result and not its file; "" where nothing is."""
    from sslbench.tables.leaderboards import is_leaderboard
    from sslbench.tables.schema import TABLES

    if table.id in TABLES or is_leaderboard(table.id):
        return ""
    return (
        f"Of table {table.id} there is the result only, so curves over its rows are left out and "
        "its claims are as they were judged then; name its file instead, such as my-table.yaml."
    )


def _warn(sentence: str) -> None:
    typer.echo(f"sslbench: {sentence}", err=True)
