"""`eval`, `transfer`, `compare`, `export`: what comes after training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from sslbench.cli.importing import FileRequest, import_run, known_scale
from sslbench.cli.options import exists, find_run, parse_dataset
from sslbench.errors import UserError

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation import Score


def evaluate(
    run: str,
    *,
    protocols: Sequence[str],
    dataset: str | None,
    scale: str,
    request: FileRequest,
    runs: Path,
    root: Path,
    device: str,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Score a run folder or an encoder file."""
    from sslbench.engine.hardware import pick_device, prepare_process

    prepare_process(threads)
    from sslbench.evaluation import evaluate as score

    kind = str(pick_device(device))
    if exists(run, folder=False):
        folder = import_run(run, request, dataset=dataset, scale=scale, runs=runs, root=root)
        chosen = None  # the data is part of the imported run
    else:
        folder = open_run(run, runs)
        request.refuse_for_run(run)
        chosen = parse_dataset(dataset, scale or known_scale(folder.experiment().scale))
    scores = score(folder, protocols, data=chosen, root=root, device=kind, force=force)
    _print_scores({folder.path.name: scores}, as_json=as_json)


def transfer(
    run: str,
    *,
    to: Sequence[str],
    protocols: Sequence[str],
    runs: Path,
    root: Path,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score a run on other data sets."""
    from sslbench.engine.hardware import pick_device, prepare_process

    prepare_process(threads)
    from sslbench.evaluation import transfer as score

    folder = open_run(run, runs)
    scale = known_scale(folder.experiment().scale)
    sets = [parse_dataset(name.strip(), scale) for name in to]
    found = score(
        folder,
        [data for data in sets if data is not None],
        protocols,
        root=root,
        device=str(pick_device(device)),
    )
    scores = {f"{to}:{name}": s for to, by_name in found.items() for name, s in by_name.items()}
    _print_scores({folder.path.name: scores}, as_json=as_json)


def compare(
    run_a: str, run_b: str, *, protocol: str, dataset: str | None, runs: Path, as_json: bool
) -> None:
    """Paired test on per-image predictions."""
    import dataclasses

    from sslbench.evaluation import compare as paired

    a, b = open_run(run_a, runs), open_run(run_b, runs)
    result = paired(a, b, protocol, dataset=dataset)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result), indent=1))
        return
    typer.echo(result.sentence(a.path.name, b.path.name))


def export(run: str, *, to: str, out: Path | None, runs: Path) -> None:
    """Write the encoder with standard key names, and what it takes to judge it."""
    from sslbench.evaluation.subject import exported

    folder = open_run(run, runs)
    if to not in ("torchvision", "timm"):
        raise UserError(f"No layout '{to}'; known: torchvision, timm.")
    layout: Literal["torchvision", "timm"] = "timm" if to == "timm" else "torchvision"
    path = out or folder.path / f"encoder.{to}.safetensors"
    exported(folder, path, layout=layout)
    typer.echo(str(path))


def open_run(text: str, runs: Path) -> RunFolder:
    """The run folder a user named."""
    from sslbench.engine.folder import RunFolder

    return RunFolder.open(find_run(text, runs))


def _print_scores(runs: Mapping[str, Mapping[str, Score]], *, as_json: bool) -> None:
    if as_json:
        plain = {run: {k: s.to_dict() for k, s in scores.items()} for run, scores in runs.items()}
        typer.echo(json.dumps(plain, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "data set", "protocol", "value", "chosen on the held-out part"):
        table.add_column(heading, overflow="fold")
    for run, scores in runs.items():
        for score in scores.values():
            values = ", ".join(f"{k} {v:.2f}" for k, v in score.values.items())
            chosen = ", ".join(f"{k} {v:g}" for k, v in score.chosen.items())
            table.add_row(run, score.dataset, score.protocol, values, chosen)
    Console().print(table)
    everything = [score for scores in runs.values() for score in scores.values()]
    for name, shared, count in sorted({(s.dataset, s.shared or 0, s.num_test) for s in everything}):
        if shared:
            typer.echo(f"{name}: {shared} of {count} test images are also training images.")
    for line in dict.fromkeys(_read_from(s) for scores in runs.values() for s in scores.values()):
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
