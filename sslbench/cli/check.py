"""`check`: measure again and compare with the committed results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sslbench.cli import options as o
from sslbench.cli.grid import Grid
from sslbench.cli.report import load_results
from sslbench.errors import RunFailed, UserError
from sslbench.recipes.resolve import find_scale


@dataclass(frozen=True, kw_only=True)
class Check(Grid):
    """Measure again and compare with the committed results; exit 1 on a regression."""

    tables: Annotated[list[str] | None, typer.Argument(help="Tables; default: all there.")] = None
    against: Annotated[Path, typer.Option(help="The reference results.")] = o.RESULTS
    scale: o.Scale = "smoke"

    def __call__(self) -> None:
        """Exit 1 when a reported number regressed beyond the seeds' own spread.

        Seeds are samples, not pairs: the reference may come from another CPU. Where several device
        classes have a reference, this device's own is taken, else any. Tables of another data set
        than the scale's own are left out: their data may not be here.
        """
        from sslbench.data import fingerprint
        from sslbench.engine.hardware import device_class, pick_device
        from sslbench.reports.check import check, require_same_request
        from sslbench.reports.terminal import show_check
        from sslbench.tables.results import on_own_data
        from sslbench.tables.schema import TABLES, table_id

        names = [table_id(name) for name in self.tables or ()]
        found = load_results(self.against, tables=names, scale=self.scale)
        if left := sorted({table.id for table in found} - set(TABLES)):
            sentence = (
                f"Only the results are here of {', '.join(left)}, so nothing is measured again; "
                "name the file of a table of your own, such as my-table.yaml."
            )
            if names:
                raise UserError(sentence)
            typer.echo(f"sslbench: {sentence}", err=True)
        mine = device_class(pick_device(self.device))
        own = [table for table in found if table.id in TABLES and on_own_data(table)]
        by_table = {t.id: t for t in sorted(own, key=lambda t: t.device_class == mine)}
        own_data = find_scale(self.scale).data
        request = self.request(list(by_table), dataset=own_data)
        data = fingerprint(request.data or own_data, root=self.data_root)
        for table in by_table.values():  # before hours of training, not after
            require_same_request(table, request.overrides, data)
        failed = self.train(request.plan())
        if failed:
            raise RunFailed("Runs failed, so nothing was compared: " + "; ".join(failed))
        outcome = check(request.measure(), list(by_table.values()))
        if self.json:
            self.print_json(outcome.to_dict())
        else:
            show_check(outcome)
        if not outcome.cells:
            raise UserError(f"The results under {self.against} have no cells to compare.")
        raise typer.Exit(outcome.exit_code)
