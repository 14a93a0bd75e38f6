"""How the text of options becomes values; every wrong one is refused in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries, parse_yaml, read_yaml
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.resolve import Resolved, find_scale, layered, resolve
from sslbench.recipes.specs import Data
from sslbench.typed import typed

T = TypeVar("T", int, float)

MAX_JOBS = 1024


def require_jobs(jobs: int) -> int:
    """The same number; raises UserError for less than one, and for what no machine can do."""
    if not 1 <= jobs <= MAX_JOBS:
        raise UserError(f"--jobs must be 1 to {MAX_JOBS}.")
    return jobs


def require_seeds(seeds: int | None) -> int | None:
    """The same number; raises UserError for less than one."""
    if seeds is not None and seeds < 1:
        raise UserError("--seeds must be at least 1.")
    return seeds


def require_seed(seed: int) -> int:
    """The same seed; raises UserError for a negative one."""
    if seed < 0:
        raise UserError(f"--seed {seed}: needs a whole number from 0.")
    return seed


def numbers(text: str | None, kind: Callable[[str], T], option: str) -> list[T] | None:
    """Comma-separated numbers; None where nothing was given. Raises UserError."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: write numbers with commas between.") from None


def parse_sets(items: Iterable[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """`a.b=value` pairs; values are read as YAML (null, true, 1e-3, [1, 2], {kind: EMA}).

    Returns:
        The changes of the recipe, and those of the data without their `data.`.
    Raises:
        UserError: a pair that is none, or that YAML does not read.
    """
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for item in items or ():
        path, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not path:
            raise UserError(f"--set {item}: write FIELD=VALUE, e.g. --set target.momentum=0.99.")
        try:
            value = parse_yaml(text)
        except UserError as error:
            raise UserError(f"--set {item}: not a value that YAML reads ({error}).") from None
        of_data = path.startswith("data.")
        (data if of_data else recipe)[path.removeprefix("data.") if of_data else path] = value
    return recipe, data


def parse_dataset(text: str | None, scale: str) -> Data | None:
    """NAME or NAME:PATH as the scale would use it; None keeps the scale's own set."""
    if text is None:
        return None
    chosen = find_scale(scale)
    from sslbench.data.registry import name_and_path

    name, path = name_and_path(text)
    return chosen.dataset(name, path=path)


def known_scale(name: str) -> str:
    """The scale of that name, for other data sets; an imported encoder has none of its own."""
    from sslbench.recipes.scales import SCALES

    return name if name in SCALES else "cifar"


def resolved(
    recipe: str, *, scale: str, dataset: str | None, sets: Iterable[str] | None, seed: int
) -> Resolved:
    """The experiment of a command line. `recipe` is a name, or a YAML file: one that `--show`
    printed, or a run's. Raises UserError."""
    changes, data_changes = parse_sets(sets)
    data = (parse_dataset(dataset, scale) or find_scale(scale).data).but(data_changes)
    if not recipe.endswith((".yaml", ".yml")):
        return resolve(recipe, scale=scale, layers=[("--set", changes)], data=data, seed=seed)
    kept = experiment_file(Path(recipe))
    experiment = kept.experiment.but(seed=seed)
    if dataset or data_changes:
        experiment = experiment.but(data=data)
    changed, layers = layered(experiment.recipe, kept.provenance, changes, "--set")
    return Resolved(experiment.but(recipe=changed), layers)


def experiment_file(path: Path) -> Resolved:
    """An experiment from a YAML file. A run's file says which layer each field came from; of
    another file's fields it is the file. Raises UserError that names the file and the field."""
    document = read_yaml(path)
    layers: Any = {}
    if isinstance(document, dict) and "experiment" in document:
        layers, document = document.get("provenance", {}), document["experiment"]
    if not isinstance(document, dict):
        raise UserError(f"{path} holds no recipe; `sslbench pretrain NAME --show` prints one.")
    try:
        layers = typed(layers, Mapping[str, str], where="provenance")
        if document.get("kind", "Experiment") == "Experiment":
            experiment = Experiment.from_dict(document)
        else:
            experiment = Experiment(recipe=Recipe.from_dict(document))
    except UserError as error:
        if path.name == "experiment.yaml":  # a run's says in run.json what it needs
            RunFolder(path.parent).require_plugins()
        raise UserError(f"{path}: {error}") from None
    fields = (field for field, _ in experiment.recipe.leaves())
    return Resolved(experiment, {field: layers.get(field, str(path)) for field in fields})


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
