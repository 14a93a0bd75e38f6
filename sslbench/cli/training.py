"""`pretrain`: train one run and say what came out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sslbench.recipes.resolve import Resolved

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder


def show(resolved: Resolved) -> None:
    """The experiment as YAML; a comment behind each line names the layer of a changed field."""
    import yaml

    typer.echo(yaml.safe_dump({"experiment": resolved.experiment.to_dict()}, sort_keys=False))
    changed = {k: v for k, v in resolved.provenance.items() if v != "recipe"}
    for path, layer in changed.items():
        typer.echo(f"# {path}: from {layer}")


def train(
    resolved: Resolved,
    *,
    runs: Path,
    root: Path,
    device: str,
    precision: str,
    compile_: str,
    threads: int | None,
    checkpoint_seconds: float,
    monitor_points: int | None,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Train, resume, or find the finished run."""
    from sslbench.engine.hardware import prepare_process

    prepare_process(threads)
    from sslbench.cli.progress import run_progress
    from sslbench.data import load
    from sslbench.engine.launch import process_group
    from sslbench.engine.pretrain import Options, pretrain
    from sslbench.evaluation.knn import make_knn_monitor

    experiment = resolved.experiment
    title = f"{experiment.recipe.name} s{experiment.seed}"
    with process_group(device) as chosen:
        options = Options(
            device=chosen,
            precision=precision,
            compile=compile_,
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
            tensorboard=tensorboard,
            monitor_points=monitor_points,
        )
        dataset = load(experiment.data, root=root)
        monitor = make_knn_monitor(dataset) if dataset.train.labels is not None else None
        with run_progress(title) as progress:
            folder = pretrain(
                experiment,
                provenance=resolved.provenance,
                runs=runs,
                root=root,
                options=options,
                monitor=monitor,
                progress=progress,
                dataset=dataset,
            )
    if os.environ.get("RANK", "0") == "0":
        _tell(folder, root=root, monitor_points=monitor_points, as_json=as_json)


def _tell(folder: RunFolder, *, root: Path, monitor_points: int | None, as_json: bool) -> None:
    path, summary = folder.path, folder.summary()
    points = len(folder.knn_curve())
    if points < min(monitor_points or 0, summary["steps"]):
        typer.echo(
            f"The finished run's kNN curve has {points} points, not {monitor_points}; move the "
            "folder away to train it again with more.",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps({"run": str(path), **summary}, indent=1))
        return
    final = summary.get("final", {})
    shown = ("loss", "std", "effective_rank", "knn")
    numbers = ", ".join(f"{name} {final[name]:.4g}" for name in shown if name in final)
    verdict = summary.get("verdict", {})
    typer.echo(str(path))
    typer.echo(f"{summary['steps']} steps in {summary['elapsed_seconds']:.0f} s; {numbers}")
    if verdict:
        typer.echo(f"{verdict['state']}: {verdict['cause']}".rstrip(": "))
    _tell_next(path, root)


def _tell_next(path: Path, root: Path) -> None:
    """Commands that work on this run as it is: data without labels have no accuracy."""
    from sslbench.reports.runs.collect import read_run
    from sslbench.reports.runs.steps import next_steps, report_step, sentence_on_labels

    run = read_run(path)
    for place, step in enumerate([*next_steps(run, root=root), report_step(run)]):
        typer.echo(f"{'Next:' if place == 0 else '     '} {step.command}")
    if sentence := sentence_on_labels(run):
        typer.echo(sentence)
