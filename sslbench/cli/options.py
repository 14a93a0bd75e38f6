"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries, parse_yaml, read_yaml
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.resolve import Resolved, find_scale, resolve
from sslbench.recipes.specs import Data

Scale = Annotated[str, typer.Option(help="smoke, laptop, cifar or paper.")]
Dataset = Annotated[
    str | None,
    typer.Option(
        help="A set's name, or NAME:PATH for local folders (folder:photos). Default: the scale's."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="FIELD=VALUE, e.g. target.momentum=0.99; data.FIELD changes the data."
    ),
]
Runs = Annotated[
    Path, typer.Option(help="Where run folders lie.", envvar="SSLBENCH_RUNS", show_default=True)
]
DataRoot = Annotated[
    Path, typer.Option(help="Where data sets lie.", envvar="SSLBENCH_DATA", show_default=True)
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="auto (asks the hardware), fp32 or bf16.")]
Compile = Annotated[
    str, typer.Option("--compile", help="auto (when the run is long enough), on or off.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: all this process has.")]
_FILES = "For an encoder file"
Encoder = Annotated[
    str | None,
    typer.Option(
        help="What it holds: resnet18, resnet50, resnet18-small, vit-small-16… An export says it "
        "itself.",
        rich_help_panel=_FILES,
    ),
]
Heads = Annotated[
    int | None,
    typer.Option(
        help="Attention heads of a ViT; default: one for 64 of its width.",
        min=1,
        rich_help_panel=_FILES,
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(
        help="Input side; default: an export's, otherwise the data's.",
        min=1,
        rich_help_panel=_FILES,
    ),
]
Normalization = Annotated[
    str | None,
    typer.Option(
        help="imagenet, half (mean 0.5, std 0.5), none ([0, 1]), or data (its own mean and std); "
        "default: an export's, otherwise imagenet.",
        rich_help_panel=_FILES,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        help="Of its training images in [0, 1]: a number, or R,G,B.", rich_help_panel=_FILES
    ),
]
Std = Annotated[str | None, typer.Option(help="As --mean.", rich_help_panel=_FILES)]
Part = Annotated[
    str | None,
    typer.Option(
        help="The start of the encoder's keys, where there are several.", rich_help_panel=_FILES
    ),
]
Positions = Annotated[
    str | None,
    typer.Option(
        help="How a ViT's positions are resampled: dino, mae, timm or torchvision; default: as "
        "the file's project does.",
        rich_help_panel=_FILES,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

MAX_JOBS = 1024
RUNS = Path("runs")
DATA = Path("data")
RESULTS = Path("results")


def parse_sets(items: Iterable[str] | None) -> dict[str, Any]:
    """`a.b=value` pairs; values are read as YAML (null, true, 1e-3, [1, 2], {kind: EMA})."""
    changes: dict[str, Any] = {}
    for item in items or ():
        path, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not path:
            raise UserError(f"--set {item}: write FIELD=VALUE, e.g. --set target.momentum=0.99.")
        try:
            changes[path] = parse_yaml(text)
        except UserError as error:
            raise UserError(f"--set {item}: not a value that YAML reads ({error}).") from None
    return changes


def require_jobs(jobs: int) -> None:
    """Raise UserError for less than one run at a time, and for what no machine can do."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UserError(f"--jobs must be 1 to {MAX_JOBS}.")


def require_seconds(seconds: float) -> float:
    """The same seconds; raises UserError for less than none, and for what is no time."""
    if not 0 <= seconds < math.inf:  # also false for nan
        raise UserError(f"--checkpoint-seconds {seconds:g}: needs a finite number from 0.")
    return seconds


def parse_dataset(text: str | None, scale: str) -> Data | None:
    """NAME or NAME:PATH as the scale would use it; None keeps the scale's own set."""
    if text is None:
        return None
    chosen = find_scale(scale)
    from sslbench.data.registry import DATASETS

    name, colon, path = text.partition(":")
    if name not in DATASETS:
        raise UserError(f"No data set '{name}'{did_you_mean(name, DATASETS)}")
    if colon and name == "shapes":
        raise UserError(f"--dataset {text}: shapes is drawn and has no folder; write shapes.")
    if colon and not path:
        raise UserError(f"--dataset {text}: give the folder after the colon, or leave it out.")
    return chosen.dataset(name, path=path or None)


def resolved(
    recipe: str, *, scale: str, dataset: str | None, sets: Iterable[str] | None, seed: int
) -> Resolved:
    """The experiment of a command line. `recipe` is a name or a YAML file that `--show` printed."""
    changes = parse_sets(sets)
    data_changes = {
        k.removeprefix("data."): changes.pop(k) for k in list(changes) if k.startswith("data.")
    }
    data = parse_dataset(dataset, scale) or find_scale(scale).data
    data = data.but(data_changes)
    if recipe.endswith((".yaml", ".yml")):
        experiment = experiment_file(Path(recipe)).but(seed=seed)
        if dataset or data_changes:
            experiment = experiment.but(data=data)
        changed = experiment.but(recipe=experiment.recipe.but(changes))
        return Resolved(changed, dict.fromkeys((p for p, _ in changed.recipe.leaves()), recipe))
    return resolve(recipe, scale=scale, layers=[("--set", changes)], data=data, seed=seed)


def experiment_file(path: Path) -> Experiment:
    """An experiment from a YAML file. Raises UserError that names the file and the field."""
    document = read_yaml(path)
    if isinstance(document, dict) and "experiment" in document:
        document = document["experiment"]
    if not isinstance(document, dict):
        raise UserError(f"{path} holds no recipe; `sslbench pretrain NAME --show` prints one.")
    try:
        if document.get("kind") == "Recipe":
            return Experiment(recipe=Recipe.from_dict(document))
        return Experiment.from_dict(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def exists(text: str, *, folder: bool) -> bool:
    """Whether a file, or a folder, of that path is there. Raises UserError for what is no path."""
    try:
        return Path(text).is_dir() if folder else Path(text).is_file()
    except (OSError, ValueError):
        raise UserError(f"'{text[:40]}...' is not a path that can be read; check it.") from None


def _names_weights(path: Path) -> bool:
    from sslbench.models.files import SUFFIXES

    return path.suffix in SUFFIXES


def find_run(text: str, runs: Path) -> Path:
    """A run folder by path, or by the start of its name under `runs`. Raises UserError."""
    direct = Path(text)
    if exists(text, folder=True):
        return direct
    if exists(text, folder=False):
        raise UserError(
            f"{text} is a file, and this needs a run; `sslbench eval {text} --dataset NAME` makes "
            "one of an encoder file."
        )
    if _names_weights(direct):
        raise UserError(f"{text}: no such file; check the path.")
    names = [p.name for p in entries(runs) if p.is_dir()]
    matches = [n for n in names if n.startswith(text)]
    if len(matches) == 1:
        return runs / matches[0]
    if matches:
        raise UserError(f"'{text}' could be {', '.join(matches)}; give more of the name.")
    raise UserError(f"No run '{text}' under {os.fspath(runs)}{did_you_mean(text, names[:50])}")
