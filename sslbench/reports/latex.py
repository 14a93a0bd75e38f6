"""Measured tables as LaTeX (booktabs), ready for \\input."""

from __future__ import annotations

from itertools import groupby

from sslbench.reports.company import company_line
from sslbench.reports.display import Grid, Line, grid, is_measured, legend
from sslbench.tables.results import MeasuredTable

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "τ": r"$\tau$",
    "√": r"$\surd$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "†": r"$\dagger$",
    "·": r"$\cdot$",
    "—": "---",
    "–": "--",
}


def latex_table(table: MeasuredTable) -> str:
    """A table environment with caption and label; needs the booktabs package."""
    shown = grid(table)
    caption = f"{table.title}. {company_line(table)}."
    caption += f" {legend(table)}" if is_measured(table) else ""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{table.id}}}",
        rf"\begin{{tabular}}{{l{'r' * len(shown.headings)}}}",
        r"\toprule",
        *_header(shown),
        r"\midrule",
        *(_line(line) for line in shown.lines if not line.baseline),
    ]
    if any(line.baseline for line in shown.lines):
        lines += [r"\midrule", *(_line(line) for line in shown.lines if line.baseline)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escape(text: str) -> str:
    """Text whose characters mean nothing to LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _header(shown: Grid) -> list[str]:
    groups, rules, start = [], [], 2
    for name, members in groupby(shown.headings, key=lambda heading: heading.name):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    parts = [escape(h.part_name) for h in shown.headings]
    return [
        " & ".join([escape(shown.corner), *groups]) + r" \\",
        " ".join(rules),
        " & ".join(["", *parts]) + r" \\",
    ]


def _line(line: Line) -> str:
    label = f"{line.label} ({line.verdict})" if line.verdict else line.label
    cells = [escape(label), *(_stack(entry.text) for entry in line.entries)]
    return " & ".join(cells) + r" \\"


def _stack(text: str) -> str:
    lines = [escape(part) for part in text.split("\n")]
    return r"\shortstack[r]{" + r" \\ ".join(lines) + "}" if len(lines) > 1 else lines[0]
