"""The part of a README that says what was measured: written from the results, not by hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sslbench.errors import UserError
from sslbench.files import read_text, write_atomically
from sslbench.reports.markdown_opening import opening
from sslbench.reports.outline import outline
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table

BEGIN = "<!-- sslbench report: begin; `sslbench report --readme` writes what stands here -->"
END = "<!-- sslbench report: end -->"


def readme_part(tables: Sequence[MeasuredTable], *, absent: Sequence[Table], folder: str) -> str:
    """The text between the markers.

    Args:
        absent: tables that were not measured, to count them.
        folder: where report.md and its plots lie, seen from the README; "results/".
    """
    parts = opening(outline(tables), absent=absent, folder=folder, page=f"{folder}report.md")
    return "\n\n".join(parts)


def update_readme(
    path: Path, tables: Sequence[MeasuredTable], *, absent: Sequence[Table], out: Path
) -> None:
    """Replace what stands between the markers of a README.

    Args:
        out: where report.md and its plots were written.
    Raises:
        UserError: no such file, or not both markers once, the first before the second.
    """
    text = read_text(path)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or text.count(BEGIN) + text.count(END) != 2:
        raise UserError(
            f"{path} needs these two lines, once each, for the report between them:\n{BEGIN}\n{END}"
        )
    folder = Path(os.path.relpath(out, path.parent)).as_posix() + "/"
    part = readme_part(tables, absent=absent, folder=folder)
    write_atomically(path, f"{before}{BEGIN}\n\n{part}\n\n{END}{after}")
