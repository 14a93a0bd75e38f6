"""`pretrain`: train one run and say what came out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslbench.cli import options as o
from sslbench.cli import values
from sslbench.recipes.resolve import Resolved
from sslbench.requests import resolved
from sslbench.typed import require_seconds

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder


def _seconds(seconds: float) -> float:
    require_seconds(seconds, "--checkpoint-seconds")
    return seconds


@dataclass(frozen=True, kw_only=True)
class Pretrain(o.OnData, o.Streaming, o.Settings, o.Places, o.Device, o.Threads, o.Json):
    """Train one recipe; run it again to resume, or to be told where the finished run lies.

    Under torchrun it trains on all its processes.
    """

    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file from --show.")]
    seed: Annotated[int, o.seed_of("initialisation, order and views")] = 0
    precision: Annotated[str, typer.Option(help="auto (asks the hardware), fp32 or bf16.")] = "auto"
    compile_: Annotated[
        str, typer.Option("--compile", help="auto (when the run is long enough), on or off.")
    ] = "auto"
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Replay steps as a CUDA graph; no GPU has run this yet."),
    ] = False
    checkpoint_seconds: Annotated[
        float,
        typer.Option(help="Least time between two checkpoints.", callback=_seconds),
    ] = 60.0
    monitor_points: Annotated[
        int | None,
        typer.Option(
            help="Points of the kNN curve, inside epochs too; default: 20, at most one an epoch.",
            min=1,
        ),
    ] = None
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard events.")] = True
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved recipe as YAML; train nothing.")
    ] = False

    def __call__(self) -> None:
        """Train, resume, or find the finished run."""
        asked = resolved(
            self.recipe,
            scale=self.scale,
            dataset=self.dataset,
            changes={
                **{f"data.{field}": value for field, value in self.streaming().items()},
                **values.parse_sets(self.set_),
            },
            seed=self.seed,
        )
        if self.show:
            show(asked)
            return
        folder = self._train(asked)
        if os.environ.get("RANK", "0") == "0":
            self._tell(folder)

    def _train(self, asked: Resolved) -> RunFolder:
        self.prepare()
        from sslbench.engine.launch import process_group
        from sslbench.engine.pretrain import Options
        from sslbench.evaluation.monitored import pretrain_monitored
        from sslbench.reports.progress import run_progress

        experiment = asked.experiment
        title = f"{experiment.recipe.name} s{experiment.seed}"
        with process_group(self.device) as chosen:
            options = Options(
                device=chosen,
                precision=self.precision,
                compile=self.compile_,
                graph=self.graph,
                threads=self.threads,
                checkpoint_seconds=self.checkpoint_seconds,
                tensorboard=self.tensorboard,
                monitor_points=self.monitor_points,
            )
            with run_progress(title) as progress:
                return pretrain_monitored(
                    experiment,
                    provenance=asked.provenance,
                    runs=self.runs,
                    root=self.data_root,
                    options=options,
                    progress=progress,
                )

    def _tell(self, folder: RunFolder) -> None:
        path, summary = folder.path, folder.summary()
        points = len(folder.knn_curve())
        if points < min(self.monitor_points or 0, summary["steps"]):
            typer.echo(
                f"The finished run's kNN curve has {points} points, not {self.monitor_points}; "
                "move the folder away to train it again with more.",
                err=True,
            )
        if self.json:
            self.print_json({"run": str(path), **summary})
            return
        final = summary.get("final", {})
        shown = ("loss", "std", "effective_rank", "knn")
        numbers = ", ".join(f"{name} {final[name]:.4g}" for name in shown if name in final)
        verdict = summary.get("verdict", {})
        typer.echo(str(path))
        typer.echo(f"{summary['steps']} steps in {summary['elapsed_seconds']:.0f} s; {numbers}")
        if verdict:
            typer.echo(f"{verdict['state']}: {verdict['cause']}".rstrip(": "))
        _tell_next(path, self.data_root)


def show(asked: Resolved) -> None:
    """The experiment as YAML; a comment behind each line names the layer of a changed field."""
    from sslbench.files import yaml_text

    typer.echo(yaml_text({"experiment": asked.experiment.to_dict()}))
    changed = {k: v for k, v in asked.provenance.items() if v != "recipe"}
    for path, layer in changed.items():
        typer.echo(f"# {path}: from {layer}")


def _tell_next(path: Path, root: Path) -> None:
    """Commands that work on this run as it is: data without labels have no accuracy."""
    from sslbench.reports.runs.collect import read_run
    from sslbench.reports.runs.steps import next_steps, report_step, sentence_on_labels

    run = read_run(path)
    for place, step in enumerate([*next_steps(run, root=root), report_step(run)]):
        typer.echo(f"{'Next:' if place == 0 else '     '} {step.command}")
    if sentence := sentence_on_labels(run):
        typer.echo(sentence)
