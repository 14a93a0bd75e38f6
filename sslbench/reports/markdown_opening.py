"""What came out, as Markdown: the start of report.md, and the part of a README that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from sslbench.reports.display import MARKS
from sslbench.reports.outline import Entry
from sslbench.reports.overview import all_methods, by_family, headline, meanings
from sslbench.reports.sentences import measured_facts, outcome_sentence
from sslbench.tables.schema import Table

VERDICTS = "verdicts.svg"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$])")


def opening(
    entries: Sequence[Entry],
    *,
    absent: Sequence[Table],
    folder: str = "",
    page: str = "",
) -> list[str]:
    """Paragraphs: the verdicts counted and drawn, what they mean, accuracy against cost, and the
    measured tables with a sentence each.

    Args:
        absent: tables that were not measured, to count them.
        folder: where the plots' files lie, seen from the page, with a slash behind.
        page: the page that links lead into; "" is this one.
    """
    parts = [" ".join(headline(entries, absent))]
    if by_family(entries):
        parts.append(f"![Claims by family of methods and verdict]({folder}{VERDICTS})")
        words = (f"**{MARKS[o]} {o}**: {text}" for o, text in meanings(entries).items())
        parts.append("; ".join(words) + ".")
    if (table := all_methods(entries)) is not None:
        alt = "Accuracy against training time, all methods"
        parts.append(f"![{alt}]({folder}{figure_file(table.id)})")
        parts.append(f"<sub>{alt}: {escape(measured_facts(table))}</sub>")
    parts.append("\n".join(_verdict_table(entries, page)))
    return parts


def _verdict_table(entries: Sequence[Entry], page: str) -> Iterator[str]:
    yield "| table, in the lecture's order | what came out |"
    yield "| :-- | :-- |"
    for section, group in groupby(entries, key=lambda entry: entry.place.section):
        yield f"| **{escape(section)}** | |"
        for entry in group:
            link = f"[{escape(entry.head.title)}]({page}#{entry.names[0]})"
            facts = measured_facts(entry.head)
            small = f"<br><sub>{escape(facts)}</sub>" if facts else ""
            yield f"| {link} | {escape(outcome_sentence(entry.head))}{small} |"


def figure_file(name: str) -> str:
    """The file of a table's plot of accuracy against time."""
    return f"{name}-time.svg"


def escape(text: str) -> str:
    """Text whose characters mean nothing to Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;"))
