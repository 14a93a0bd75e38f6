"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

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
    """Raise UserError for fewer than one run at a time."""
    if jobs < 1:
        raise UserError("--jobs must be at least 1.")


def parse_dataset(text: str | None, scale: str) -> Data | None:
    """NAME or NAME:PATH as the scale would use it; None keeps the scale's own set."""
    if text is None:
        return None
    chosen = find_scale(scale)
    from sslbench.data.registry import DATASETS

    name, _, path = text.partition(":")
    if name not in DATASETS:
        raise UserError(f"No data set '{name}'{did_you_mean(name, DATASETS)}")
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


def find_run(text: str, runs: Path) -> Path:
    """A run folder by path, or by the start of its name under `runs`. Raises UserError."""
    direct = Path(text)
    if direct.is_dir():
        return direct
    names = [p.name for p in entries(runs) if p.is_dir()]
    matches = [n for n in names if n.startswith(text)]
    if len(matches) == 1:
        return runs / matches[0]
    if matches:
        raise UserError(f"'{text}' could be {', '.join(matches)}; give more of the name.")
    raise UserError(f"No run '{text}' under {os.fspath(runs)}{did_you_mean(text, names[:50])}")
