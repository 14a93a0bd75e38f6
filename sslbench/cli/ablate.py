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

    def __call__(self) -> None:
        """Raises RunFailed as `measure`."""
        self.measure(self.tables, rows=self.rows.split(",") if self.rows else None)
