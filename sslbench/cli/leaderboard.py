"""`leaderboard`: any recipes side by side, such as a new method and its baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sslbench.cli.measure import Measure


@dataclass(frozen=True, kw_only=True)
class Leaderboard(Measure):
    """Train and score some recipes under the same protocols, and print them as a table."""

    recipes: Annotated[str, typer.Option(help="Comma-separated, e.g. mine,simclr,byol.")]

    def __call__(self) -> None:
        """Raises RunFailed as `measure`; UserError for an unknown recipe."""
        from sslbench.tables.leaderboards import leaderboard

        self.measure([leaderboard(self.recipes.split(",")).id])
