"""`ablate`: train what a table lacks, and print ours beside the published numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sslbench.cli.measure import Measure


@dataclass(frozen=True, kw_only=True)
class Ablate(Measure):
    """Train what a table lacks, score it, and print ours beside the published numbers."""

    tables: Annotated[
        list[str],
        typer.Argument(help="Tables, as `sslbench list tables` names, or YAML files of your own."),
    ]
    rows: Annotated[str | None, typer.Option(help="Comma-separated row ids; default: all.")] = None
    columns: Annotated[
        str | None, typer.Option(help="Comma-separated columns to measure; default: all.")
    ] = None

    def __call__(self) -> None:
        """Raises RunFailed as `measure`."""
        self.measure(self.tables, rows=_listed(self.rows), columns=_listed(self.columns))


def _listed(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None
