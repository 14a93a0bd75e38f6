"""Measured tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from sslbench.reports.company import company, company_line, not_measured, notes
from sslbench.reports.display import MARKS, Grid, Heading, grid, unique_names
from sslbench.reports.time_plot import time_plot
from sslbench.tables.results import MeasuredTable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$])")


def markdown_files(tables: Sequence[MeasuredTable]) -> dict[str, str]:
    """File name to text: report.md, and the plots that it shows, to lie beside it."""
    figures = markdown_figures(tables)
    return {"report.md": markdown_report(tables, figures=figures), **figures}


def markdown_report(tables: Sequence[MeasuredTable], *, figures: Collection[str]) -> str:
    """All tables under one title, with an index when there are several.

    Args:
        figures: names of the plots' files that lie beside the page.
    """
    parts = ["# sslbench results"]
    names = dict(zip(unique_names(tables), tables, strict=True))
    if len(tables) > 1:
        parts.append("\n".join(f"- [{escape(t.title)}](#{name})" for name, t in names.items()))
    for name, table in names.items():
        parts += [f'<a id="{name}"></a>', markdown_table(table)]
        if (file := _figure_file(name)) in figures:
            parts.append(f"![Accuracy against training time]({file})")
    return "\n\n".join(parts) + "\n"


def markdown_figures(tables: Sequence[MeasuredTable]) -> dict[str, str]:
    """File name to SVG of each table's plot of accuracy against time."""
    names = zip(unique_names(tables), tables, strict=True)
    return {_figure_file(n): on_any_page(svg) for n, t in names if (svg := time_plot(t))}


def _figure_file(name: str) -> str:
    return f"{name}-time.svg"


def on_any_page(svg: str) -> str:
    """A file of its own cannot take its ink from the page: a grey that reads on white and black."""
    return svg.replace("<svg ", '<svg style="color: #7d8590; font-family: sans-serif" ', 1) + "\n"


def markdown_table(table: MeasuredTable) -> str:
    """One table: title, company line, cells, rank agreement, claims, notes, what is missing."""
    parts = [
        f"## {escape(table.title)}",
        escape(_source(table)),
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


def escape(text: str) -> str:
    """Text whose characters mean nothing to Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;"))


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
