"""`eval` and `transfer`: score a run under protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from sslbench.cli import options as o
from sslbench.cli.encoder_file import Opener
from sslbench.requests import exists, find_data, known_scale

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.scores import Score


@dataclass(frozen=True, kw_only=True)
class Scoring(o.Protocols, o.Places, o.Device, o.Threads, o.Json):
    """What scoring takes."""

    def tell(self, folder: RunFolder, scores: Mapping[str, Score]) -> None:
        """Print a run's scores."""
        if self.json:
            self.print_json({folder.path.name: {k: s.to_dict() for k, s in scores.items()}})
        else:
            _show_scores(folder.path.name, scores)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Scoring, Opener):
    """Score a run, or an encoder file of another library, under the versioned protocols."""

    of_runs: ClassVar[tuple[str, ...]] = ("resolution",)

    run: o.RunOrFile
    force: Annotated[bool, typer.Option("--force", help="Score again what is scored.")] = False

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.evaluate import evaluate
        from sslbench.reports.progress import scoring_progress

        device = self.pick_device()
        folder, data = self.open(self.run)
        names = self.protocol.split(",")
        imported = exists(self.run, folder=False)  # at the side that was asked for
        with scoring_progress(folder.path.name) as progress:
            scores = evaluate(
                folder, names, data=data, resolution=None if imported else self.resolution,
                root=self.data_root, device=device, force=self.force, progress=progress,
            )  # fmt: skip
        self.tell(folder, scores)


@dataclass(frozen=True, kw_only=True)
class Transfer(Scoring):
    """Classification on other data sets, by the same protocols."""

    run: o.Run
    to: Annotated[str, typer.Option(help="Comma-separated data sets.")]
    resolution: Annotated[
        int | None, typer.Option(help="Side of their images; default: the run's.", min=1)
    ] = None

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.transfer import transfer
        from sslbench.reports.progress import scoring_progress

        folder = self.open_run(self.run)
        scale = known_scale(folder.experiment().scale)
        sets = [find_data(name.strip(), scale) for name in self.to.split(",")]
        with scoring_progress(folder.path.name) as progress:
            found = transfer(
                folder,
                [data for data in sets if data is not None],
                self.protocol.split(","),
                resolution=self.resolution,
                root=self.data_root,
                device=self.pick_device(),
                progress=progress,
            )
        self.tell(
            folder, {f"{to}:{k}": s for to, scores in found.items() for k, s in scores.items()}
        )


def _show_scores(run: str, scores: Mapping[str, Score]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "data set", "protocol", "value", "chosen without the test set"):
        table.add_column(heading, overflow="fold")
    for score in scores.values():
        values = ", ".join(f"{k} {v:.2f}" for k, v in score.values.items())
        chosen = ", ".join(f"{k} {v:g}" for k, v in score.chosen.items())
        table.add_row(run, score.dataset, score.protocol, values, chosen)
    Console().print(table)
    counts = {(s.dataset, s.shared or 0, s.num_test) for s in scores.values()}
    for name, shared, count in sorted(counts):
        if shared:
            typer.echo(f"{name}: {shared} of {count} test images are also training images.")
    for line in dict.fromkeys(map(_read_from, scores.values())):
        typer.echo(line, nl=bool(line))


def _read_from(score: Score) -> str:
    """What was read from an encoder file, and how its images were made; "" of a run's score."""
    from sslbench.models.card import Normalization

    source, inputs = score.source, score.inputs
    if not source:
        return ""
    prefix = source["prefix"].rstrip(".")
    ignored = f"{source['ignored']} ignored"
    if source["first_ignored"]:
        more = ", ..." if source["ignored"] > len(source["first_ignored"]) else ""
        ignored += f" ({', '.join(source['first_ignored'])}{more})"
    parts = [
        f"{source['name']}: layout {source['layout']}",
        f"prefix '{prefix}'" if prefix else "no prefix",
        f"{source['loaded']} keys used, {ignored}",
        f"{inputs['resolution']} pixels",
        str(Normalization(mean=tuple(inputs["mean"]), std=tuple(inputs["std"]))),
        *source["notes"],
    ]
    return "; ".join(parts) + "."
