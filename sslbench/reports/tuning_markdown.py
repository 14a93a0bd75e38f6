"""Studies at the end of the Markdown report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sslbench.reports import plots
from sslbench.reports.markdown_opening import escape
from sslbench.reports.tuning_figures import BUDGET, CAPTION, HEADINGS, Studies, studies
from sslbench.tuning.record import Record


def with_studies(files: Mapping[str, str], records: Sequence[Record]) -> dict[str, str]:
    """The files of a report, its page report.md with budgets and figures of all studies at its end,
    which lie beside it."""
    found = studies(records)
    page = files["report.md"] + "".join(f"\n{_section(one)}\n" for one in found)
    figures = {
        _file(one, a): plots.on_any_page(svg) for one in found for a, svg in one.figures.items()
    }
    return {**files, "report.md": page, **figures}


def _section(one: Studies) -> str:
    rule = ["--", *["--:"] * (len(HEADINGS) - 2), "--"]
    rows = [HEADINGS, rule, *([escape(cell) for cell in line] for line in one.lines)]
    parts = [
        f'<a id="{one.key}"></a>',
        f"## {escape(one.title)}",
        BUDGET,
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        *(f"![Best so far against {against}]({_file(one, against)})" for against in one.figures),
        CAPTION,
    ]
    return "\n\n".join(parts)


def _file(one: Studies, against: str) -> str:
    return f"{one.key}-{against}.svg"
