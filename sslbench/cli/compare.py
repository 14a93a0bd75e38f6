"""`compare`: which of two runs is better on the same test images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import typer

from sslbench.cli import options as o


@dataclass(frozen=True, kw_only=True)
class Compare(o.Runs, o.Json):
    """Paired test of two runs on the same test images."""

    run_a: o.Run
    run_b: Annotated[str, typer.Argument(help="Another.")]
    protocol: Annotated[str, typer.Option(help="One protocol.")] = "linear"
    dataset: Annotated[str | None, typer.Option(help="Data set of the scores.")] = None

    def __call__(self) -> None:
        from sslbench.evaluation.compare import compare

        a, b = self.open_run(self.run_a), self.open_run(self.run_b)
        result = compare(a, b, self.protocol, dataset=self.dataset)
        if self.json:
            self.print_json(dataclasses.asdict(result))
        else:
            typer.echo(result.sentence(a.path.name, b.path.name))
