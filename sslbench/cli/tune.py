"""`tune`: search a recipe's settings at a scale with the budget that every recipe gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslbench.cli import options as o
from sslbench.cli import values
from sslbench.errors import Interrupted, RunFailed, UserError

if TYPE_CHECKING:
    from sslbench.tuning.record import Record
    from sslbench.tuning.request import TuneRequest


@dataclass(frozen=True, kw_only=True)
class Tune(o.OnData, o.Settings, o.Places, o.Results, o.Device, o.Backend, o.Json):
    """Search a recipe's settings on the held-out part of its training images; every trial is kept.

    The same command goes on with a study that was stopped, and reads one that is complete.
    """

    recipes: Annotated[list[str], typer.Argument(help="As `sslbench list recipes` names them.")]
    trials: Annotated[int, typer.Option(help="Settings tried, the present one among them.")] = 40
    seeds: Annotated[int, typer.Option(help="Of the best few and the present setting.")] = 3
    seed: Annotated[int, o.seed_of("the sampler")] = 0
    jobs: Annotated[
        int,
        typer.Option(help="Runs side by side; changes no result.", callback=values.require_jobs),
    ] = 1
    threads: Annotated[int, typer.Option(help="CPU threads of each run.", min=1)] = 1
    on: Annotated[
        str, typer.Option(help="What trials are compared on: heldout, never the test images.")
    ] = "heldout"
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the space, the budget and the time.")
    ] = False
    write: Annotated[
        bool,
        typer.Option("--write", help="Make the winner the setting of the scale (tuned.yaml)."),
    ] = False

    def __call__(self) -> None:
        """A study that fails does not keep the others from being run.

        Raises:
            UserError: something that is asked for is wrong, before anything is run.
            RunFailed: at the end, where studies failed.
            Interrupted: stopped by a signal.
        """
        request = self._request()
        if self.dry_run:
            self._tell_plans(request)
            return
        for name in request.recipes:
            request.definition(name, planned=len(self.recipes) > 1)
        records, failed = [], []
        for name in request.recipes:
            try:
                records.append(self._study(name, request))
            except Interrupted:
                raise
            except UserError as error:
                if len(request.recipes) == 1:
                    raise
                failed.append(str(error))
        self._tell(records, request)
        if failed:
            raise RunFailed(f"{len(failed)} of {len(request.recipes)} studies failed: "
                            f"{' '.join(failed)}")  # fmt: skip

    def _study(self, name: str, request: TuneRequest) -> Record:
        from sslbench.reports.progress import study_progress

        record = request.run(name, on_progress=study_progress)
        if self.write:
            typer.echo(str(request.write(record)), err=True)
        return record

    def _request(self) -> TuneRequest:
        from sslbench.requests import split_changes, wanted_data
        from sslbench.tuning.request import TuneRequest

        fixed, of_data = split_changes(values.parse_sets(self.set_))
        if self.on != "heldout":
            raise UserError(
                f"--on {self.on}: a study compares trials on the held-out part of the training "
                "images and never reads the test images; leave --on out, and measure the winner "
                "with `sslbench ablate` or `sslbench leaderboard`."
            )
        return TuneRequest.of(
            self.recipes,
            scale=self.scale,
            data=wanted_data(self.dataset, self.scale, of_data),
            fixed=fixed,
            trials=self.trials,
            seeds=self.seeds,
            seed=self.seed,
            runs=self.runs,
            root=self.data_root,
            results=self.results,
            jobs=self.jobs,
            threads=self.threads,
            device=self.device,
            backend=self.pick_backend(),
        )

    def _tell_plans(self, request: TuneRequest) -> None:
        plans = [request.plan(name) for name in request.recipes]
        if self.json:
            self.print_json([plan.plain() for plan in plans])
            return
        from sslbench.reports.tuning import show_plan

        for plan in plans:
            show_plan(plan, jobs=self.jobs)

    def _tell(self, records: list[Record], request: TuneRequest) -> None:
        if self.json:
            self.print_json([_plain(record) for record in records])
            return
        from sslbench.reports.tuning import show_record

        for record in records:
            show_record(record)
            typer.echo(str(request.path(record.recipe)))


def _plain(record: Record) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)
