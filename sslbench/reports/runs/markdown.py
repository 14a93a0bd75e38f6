"""One's own runs as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sslbench.reports.display import grid
from sslbench.reports.markdown import bullets, cells
from sslbench.reports.markdown_opening import escape
from sslbench.reports.runs.steps import Step
from sslbench.reports.runs.view import (
    LEGEND,
    RUN_HEADINGS,
    SCORE_HEADINGS,
    GroupView,
    ReportView,
    describe,
)


def markdown_page(report: ReportView) -> str:
    """The scores side by side, then each group."""
    parts = ["# sslbench runs", bullets("Left out", report.remarks)]
    for table in report.scores:
        parts += [f"## {escape(table.title)}", f"*{escape(describe(table))}*", cells(grid(table))]
    parts += [escape(LEGEND)] if report.scores else []
    parts.append(_steps(report.steps))
    for shown in report.groups:
        parts += _group(shown)
    return "\n\n".join(part for part in parts if part) + "\n"


def _group(shown: GroupView) -> Iterator[str]:
    yield f"## {escape(shown.label)}"
    yield f"*{escape(shown.line)}*"
    yield "**" + escape(", ".join(word for word, _ in shown.states)) + "**"
    yield from (escape(cause) for cause in shown.causes)
    yield _lines(RUN_HEADINGS, shown.runs)
    if shown.scores:
        yield _lines(SCORE_HEADINGS, shown.scores)
    yield _steps(shown.steps)
    yield escape(shown.on_labels)
    yield bullets("Could not be read", shown.remarks)
    facts = [f"{name}: {fact}" for name, fact in shown.facts.items()]
    yield bullets("Recipe and where it ran", facts)
    changes = [
        f"{c.field}: {c.value}{f' (was {c.before})' if c.before else ''}"
        f"{f', by {c.layer}' if c.layer else ''}"
        for c in shown.changes
    ]
    yield bullets("Unlike the recipe", changes)


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = [[escape(h) for h in headings], [":--"] * len(headings)]
    table += [[escape(text) for text in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def _steps(steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    lines = [f"- `{step.command}`: {escape(step.gives)}" for step in steps]
    return "\n".join(["**Next**", "", *lines])
