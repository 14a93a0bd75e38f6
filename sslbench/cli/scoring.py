"""`eval`, `transfer`, `compare`, `export`: what comes after training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from sslbench.cli.options import find_run, parse_dataset
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
    encoder: str | None,
    resolution: int | None,
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
    if Path(run).is_file():
        folder = import_run(
            run, dataset=dataset, scale=scale, encoder=encoder, resolution=resolution, runs=runs,
            root=root,
        )  # fmt: skip
        chosen = None  # the data is part of the imported run
    else:
        folder = open_run(run, runs)
        chosen = parse_dataset(dataset, scale or folder.experiment().scale)
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
    scale = folder.experiment().scale
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
    """Write the encoder with standard key names."""
    from sslbench.engine.checkpoint import load_weights
    from sslbench.models import build_encoder
    from sslbench.models.export import export_encoder

    folder = open_run(run, runs)
    if folder.status() != "finished":
        raise UserError(f"{folder.path} is {folder.status()}, not finished; finish it first.")
    experiment = folder.experiment()
    resolution = int(folder.summary()["resolution"])
    encoder = build_encoder(experiment.recipe.encoder, resolution=resolution)
    encoder.load_state_dict(load_weights(folder.encoder_path))
    if to not in ("torchvision", "timm"):
        raise UserError(f"No layout '{to}'; known: torchvision, timm.")
    layout: Literal["torchvision", "timm"] = "timm" if to == "timm" else "torchvision"
    path = out or folder.path / f"encoder.{to}.safetensors"
    export_encoder(encoder, experiment.recipe.encoder, path, layout=layout)
    typer.echo(str(path))


def open_run(text: str, runs: Path) -> RunFolder:
    """The run folder a user named."""
    from sslbench.engine.folder import RunFolder

    return RunFolder.open(find_run(text, runs))


def import_run(
    file: str, *, dataset: str | None, scale: str, encoder: str | None, resolution: int | None,
    runs: Path, root: Path,
) -> RunFolder:  # fmt: skip
    """Another library's encoder file as a finished run. Raises UserError."""
    from sslbench.evaluation.foreign import import_encoder_file

    if dataset is None:
        raise UserError(f"{file} is an encoder file: say on what data, e.g. --dataset cifar10.")
    if encoder is None:
        raise UserError(f"{file} is an encoder file: say which, e.g. --encoder resnet50.")
    data = parse_dataset(dataset, scale or "cifar")
    assert data is not None
    if resolution is not None:
        data = data.but(resolution=resolution)
    return import_encoder_file(Path(file), encoder_spec(encoder), data=data, root=root, runs=runs)


def encoder_spec(name: str) -> Any:
    """`resnet50`, `resnet18-small`, `vit-small-16` as an encoder spec. Raises UserError."""
    from sslbench.recipes.specs import ResNet, ViT

    parts = name.split("-")
    if parts[0] == "vit" and len(parts) == 3:
        return ViT.from_dict({"arch": parts[1], "patch": parts[2]})
    stem = "small" if parts[-1] == "small" else "imagenet"
    return ResNet.from_dict({"arch": parts[0], "stem": stem})


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
