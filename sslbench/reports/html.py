"""Measured tables as one self-contained HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.reports import plots
from sslbench.reports.company import company, company_line, digests, not_measured, notes
from sslbench.reports.curves import (
    CURVES,
    MAX_LINES,
    Series,
    ideal_std,
    run_names,
    sweep_series,
    sweeps_of,
    too_many_curves,
    training_curves,
)
from sslbench.reports.display import (
    MARKS,
    Grid,
    Line,
    grid,
    is_measured,
    table_key,
)
from sslbench.reports.embedded import embedded_figures
from sslbench.reports.fit_curves import fit_curves
from sslbench.reports.outline import Entry, outline
from sslbench.reports.overview import all_methods, by_family, headline, meanings
from sslbench.reports.panels import short_names
from sslbench.reports.sentences import OUTCOMES, measured_facts, outcome_sentence
from sslbench.reports.time_plot import MAX_NAMED, time_plot
from sslbench.reports.tuning_figures import Studies, studies_context
from sslbench.reports.verdict_bars import verdict_bars
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table

if TYPE_CHECKING:
    from jinja2 import Template

MAX_ROWS = 200  # that a table shows at once; further ones are folded, FOLDED in a part
FOLDED = 1000
MAX_NOTES = 40  # that a list shows at once


def html_report(
    tables: Sequence[MeasuredTable],
    *,
    runs: Path | None = None,
    analyses: Path | None = None,
    absent: Sequence[Table] = (),
    tuning: Sequence[Studies] = (),
) -> str:
    """The page: what came out on one screen, every table in the lecture's order with its claims,
    plots and company, then analyses and studies.

    Args:
        runs: the folder of run folders, for the training curves and the figures of `sslbench
            analyze` beside each table's runs; None leaves them out.
        analyses: a folder of such figures of several runs, for the end of the page.
        absent: tables that were not measured, to name them.
        tuning: studies, after those.
    """
    template = page_template("report.html.j2")
    entries = outline(tables)
    caption, figures = ("", []) if analyses is None else embedded_figures([("", analyses)])
    page = template.render(
        opening=_opening(entries, absent),
        sections=_sections(entries, runs),
        absent=absent,
        analyses=figures,
        caption=caption,
        marks=MARKS,
        outcomes=OUTCOMES,
        **studies_context(tuning),
    )
    return page + "\n"


def _opening(entries: Sequence[Entry], absent: Sequence[Table]) -> dict[str, Any]:
    """What the template shows first."""
    return {
        "headline": headline(entries, absent),
        "meanings": meanings(entries),
        "bars": verdict_bars(by_family(entries)),
        "cost": _cost(entries),
    }


def _cost(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Accuracy against training time of all methods."""
    table = all_methods(entries)
    if table is None:
        return None
    plot = time_plot(table, salt="opening")
    return {"name": table.id, "plot": plot, "facts": measured_facts(table)}


def _sections(entries: Sequence[Entry], runs: Path | None) -> list[dict[str, Any]]:
    """Sections of the lecture, each with the measurements of its tables."""
    return [
        {
            "title": title,
            "entries": [
                {"views": [{"name": name, **_view(table, runs)}
                           for name, table in zip(entry.names, entry.tables, strict=True)]}
                for entry in group
            ],
        }
        for title, group in groupby(entries, key=lambda entry: entry.place.section)
    ]  # fmt: skip


def page_template(name: str) -> Template:
    """A template of this package; whatever is put in is text unless it says otherwise."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sslbench.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name, globals={"max_notes": MAX_NOTES})


def cells_view(table: MeasuredTable) -> dict[str, Any]:
    """What the template of a table's cells reads."""
    shown = grid(table)
    names = groupby(heading.name for heading in shown.headings)
    header = [(name, len(list(group))) for name, group in names]
    return {"grid": shown, "blocks": blocks(shown), "header": header}


def _view(table: MeasuredTable, runs: Path | None) -> dict[str, Any]:
    """What the template shows of one table."""
    counts = {outcome: sum(c.ours == outcome for c in table.claims) for outcome in OUTCOMES}
    return {
        "table": table,
        **cells_view(table),
        "measured": is_measured(table),
        "counts": counts,
        "sentence": outcome_sentence(table),
        "facts": measured_facts(table),
        "company": company(table),
        "company_line": company_line(table),
        "notes": notes(table),
        "not_measured": not_measured(table),
        "runs": [(row, digests(row)) for row in (*table.rows, *table.baselines) if digests(row)],
        "figures": _figures(table, runs) if is_measured(table) else [],
    }


def blocks(shown: Grid) -> list[tuple[str, list[Line]]]:
    """The first MAX_ROWS rows with the baselines, then the others in parts that have a title and
    are folded under it: a page with one huge table opens slowly."""
    rows = [line for line in shown.lines if not line.baseline]
    first = [*rows[:MAX_ROWS], *(line for line in shown.lines if line.baseline)]
    rest = range(MAX_ROWS, len(rows), FOLDED)
    folded = [rows[i : i + FOLDED] for i in rest]
    titles = [f"Rows {i + 1:,} to {i + len(part):,}" for i, part in zip(rest, folded, strict=True)]
    return [("", first), *zip(titles, folded, strict=True)]


def _figures(table: MeasuredTable, runs: Path | None) -> list[dict[str, Any]]:
    """Groups of plots with a caption and a legend, in the order to show them."""
    groups = []
    if plots.is_heat_map(table):
        caption = "Each map has a colour scale of its own: compare the patterns, not the levels."
        groups.append(
            figure_group("Ours and published", caption, list(plots.heat_maps(table).items()))
        )
    else:
        groups.append(_dots(table))
    groups.append(_time(table))
    groups += [_sweep(table, index) for index in range(len(sweeps_of(table)))]
    if runs is not None:
        groups += [_training(table, runs), _fits(table, runs)]
        groups.append(_analyses(table, runs))
    return [group for group in groups if group["plots"] or group["caption"]]


def _dots(table: MeasuredTable) -> dict[str, Any]:
    legend = [("ours, with its 95 % interval", plots.OURS, "dot")]
    legend.append(("published", plots.PUBLISHED, "diamond"))
    return figure_group(
        "Ours against published", "", [("", p) for p in plots.against_published(table)], legend
    )


def _time(table: MeasuredTable) -> dict[str, Any]:
    plot = time_plot(table)
    caption = "Means over seeds, the accuracy with its 95 % interval"
    named = len(table.rows) <= MAX_NAMED
    caption += "; best at the top." if named else f": {len(table.rows):,} rows, too many to name."
    caption = caption if plot else ""
    return figure_group("Accuracy against training time", caption, [("", plot)] if plot else [])


def _sweep(table: MeasuredTable, index: int) -> dict[str, Any]:
    sweep = sweeps_of(table)[index]
    lines = sweep_series(table, sweep)
    if not lines:
        return figure_group(sweep.title, "", [])
    column = next(c for c in table.columns if c.key == sweep.columns[0])
    plot = plots.curve_plot(
        lines,
        salt=f"{table_key(table)}-sweep-{index}",
        x=f"{sweep.x} (published axis)",
        y=f"{column.unit or column.name}",
        log2=sweep.log2,
    )
    caption = "Solid: ours with its 95 % interval. Dashed with hollow marks: published."
    return figure_group(sweep.title, caption, [("", plot)], line_legend(line_labels(lines)))


def _training(table: MeasuredTable, runs: Path) -> dict[str, Any]:
    if too_many_curves(table, runs):
        sentence = f"More than {MAX_LINES} rows have a log: their curves could not be told apart, "
        return figure_group("Training", sentence + "and are left out.", [])
    curves = training_curves(table, runs)
    ideal = ideal_std(table, runs) if curves else None
    labels = line_labels(line for lines in curves.values() for line in lines)
    shown = []
    for metric, lines in curves.items():
        level = (ideal, "1/√D") if metric == "std" and ideal else None
        salt = f"{table_key(table)}-curve-{metric}"
        plot = plots.curve_plot(lines, salt=salt, x="step", y="", reference=level, labels=labels)
        shown.append((CURVES[metric], plot))
    caption = "Mean over seeds; the band runs from the lowest to the highest seed." * bool(curves)
    return figure_group("Training", caption, shown, line_legend(labels))


def _fits(table: MeasuredTable, runs: Path) -> dict[str, Any]:
    curves = fit_curves(table, runs)
    labels = line_labels(line for lines in curves.values() for line in lines)
    salt = f"{table_key(table)}-fit"
    shown = [
        (name, plots.curve_plot(lines, salt=f"{salt}-{i}", x="step", y="", labels=labels))
        for i, (name, lines) in enumerate(curves.items())
    ]
    caption = "The fits that were scored; mean over seeds, with a band to the lowest and highest."
    return figure_group("Training by protocols", caption * bool(curves), shown, line_legend(labels))


def _analyses(table: MeasuredTable, runs: Path) -> dict[str, Any]:
    """What `sslbench analyze` left beside the table's runs."""
    names = [run for row in table.rows for cell in row.cells.values() for run in cell.runs]
    labels, there = short_names(names), run_names(runs)
    folders = [
        (labels[name], runs / name / "analyses") for name in dict.fromkeys(names) if name in there
    ]
    return figure_group("Analyses", *embedded_figures(folders))


def line_labels(lines: Iterable[Series]) -> list[str]:
    """Each label once, in the order of the colours."""
    return list(dict.fromkeys(line.label for line in lines))


def line_legend(labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """Label, colour and kind of each line of a curve plot."""
    return [
        (label, plots.colour(i), "dashes" if plots.dashed(i) else "line")
        for i, label in enumerate(labels)
    ]


def figure_group(
    title: str,
    caption: str,
    svgs: Sequence[tuple[str, str]],
    legend: Sequence[tuple[str, str, str]] = (),
) -> dict[str, Any]:
    """Plots under a title, as the templates read them.

    Args:
        svgs: caption and SVG (or <img>) of each.
        legend: label, colour and kind of mark of each line.
    """
    return {"title": title, "caption": caption, "plots": svgs, "legend": legend}
