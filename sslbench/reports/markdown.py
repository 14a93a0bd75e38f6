"""Measured tables as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sslbench.reports import plots
from sslbench.reports.company import company, company_line, not_measured, notes
from sslbench.reports.display import MARKS, Grid, Heading, grid
from sslbench.reports.markdown_opening import VERDICTS, escape, figure_file, opening
from sslbench.reports.outline import Entry, outline
from sslbench.reports.overview import by_family
from sslbench.reports.sentences import measured_facts, outcome_sentence
from sslbench.reports.time_plot import time_plot
from sslbench.reports.verdict_bars import verdict_bars
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table


def markdown_files(
    tables: Sequence[MeasuredTable], *, absent: Sequence[Table] = ()
) -> dict[str, str]:
    """File name to text: report.md, and the plots that it shows, to lie beside it."""
    entries = outline(tables)
    figures = _figures(entries)
    return {"report.md": markdown_report(entries, absent=absent, figures=figures), **figures}


def markdown_report(
    entries: Sequence[Entry], *, absent: Sequence[Table], figures: Collection[str]
) -> str:
    """What came out, then all tables in the lecture's order.

    Args:
        absent: tables that were not measured, to name them.
        figures: names of the plots' files that lie beside the page.
    """
    parts = ["# sslbench results", *opening(entries, absent=absent)]
    if absent:
        names = ", ".join(f"`{table.id}`" for table in absent)
        parts.append(f"Not measured here: {names}.")
    for entry in entries:
        for i, (name, table) in enumerate(zip(entry.names, entry.tables, strict=True)):
            parts += [f'<a id="{name}"></a>', markdown_table(table, first=i == 0)]
            if (file := figure_file(name)) in figures:
                parts.append(f"![Accuracy against training time]({file})")
    return "\n\n".join(parts) + "\n"


def _figures(entries: Sequence[Entry]) -> dict[str, str]:
    """File name to SVG: the verdicts by family, and each table's accuracy against time."""
    bars = verdict_bars(by_family(entries))
    found = {VERDICTS: plots.on_any_page(bars)} if bars else {}
    for entry in entries:
        for name, table in zip(entry.names, entry.tables, strict=True):
            if svg := time_plot(table):
                found[figure_file(name)] = plots.on_any_page(svg)
    return found


def markdown_table(table: MeasuredTable, *, first: bool = True) -> str:
    """One measurement: title, what came out, company line, cells, rank agreement, claims, notes,
    what is missing. One that is not the table's `first` stands below it."""
    title = escape(table.title) if first else f"Also measured: {escape(measured_facts(table))}"
    parts = [
        f"{'##' if first else '###'} {title}",
        escape(_source(table)) if first else "",
        escape(outcome_sentence(table)),
        f"*{escape(company_line(table))}*",
        cells(grid(table)),
    ]
    if table.rank_agreement:
        taus = (f"{escape(k)} {v:+.2f}" for k, v in table.rank_agreement.items())
        parts.append("Rank agreement with the published rows (Kendall's tau): " + ", ".join(taus))
    if table.claims:
        parts.append(_claims(table))
    parts.append(bullets("Notes", notes(table)))
    parts.append(bullets("Not measured", not_measured(table)))
    facts = [f"{name}: {fact}" for name, fact in company(table).items()]
    parts.append(bullets("Measured with", facts))
    return "\n\n".join(part for part in parts if part)


def _source(table: MeasuredTable) -> str:
    return f"{table.source} (arXiv:{table.arxiv})" if table.arxiv else table.source


def cells(shown: Grid) -> str:
    """The cells of a table."""
    single = len({heading.column.key for heading in shown.headings}) == 1
    header = [escape(shown.corner), *(_header(heading, single) for heading in shown.headings)]
    lines = [header, [":--", *["--:"] * len(shown.headings)]]
    for line in shown.lines:
        label = escape(line.label) + (f" *({line.verdict})*" if line.verdict else "")
        label = f"*{label}*" if line.baseline and not line.verdict else label
        texts = (escape(entry.text).replace("\n", "<br>") for entry in line.entries)
        lines.append([label, *texts])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _header(heading: Heading, single: bool) -> str:
    if single and heading.part != "ours":
        return escape(heading.part_name)
    return "<br>".join(escape(text) for text in (heading.name, heading.part_name) if text)


def _claims(table: MeasuredTable) -> str:
    lines = ["| claim | published | ours | decided by |", "| :-- | :-- | :-- | :-- |"]
    for claim in table.claims:
        published = f"{MARKS[claim.published]} {claim.published}" if claim.published else "in words"
        ours = f"{MARKS[claim.ours]} {escape(claim.verdict)}"
        cells = (escape(claim.says), published, ours, escape(claim.detail).replace("\n", " "))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bullets(title: str, items: Sequence[str]) -> str:
    """A titled list; "" without items."""
    return "\n".join([f"**{title}**", "", *(f"- {escape(i)}" for i in items)]) if items else ""
