"""What a user asks for by name, on the command line or from Python: experiments, runs, grids."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.data.listing import missing
from sslbench.data.registry import name_and_path
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries, read_yaml
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.resolve import Resolved, find_scale, layered, resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import Data
from sslbench.typed import typed

if TYPE_CHECKING:
    from sslbench.tables.adaptive import Growing
    from sslbench.tables.estimates import Looks
    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable
    from sslbench.tables.schema import Table

Changes = Mapping[str, Any]


def split_changes(changes: Changes | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changes of the recipe, and those of the data without their `data.`."""
    recipe: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for path, value in (changes or {}).items():
        of_data = path.startswith("data.")
        (data if of_data else recipe)[path.removeprefix("data.")] = value
    return recipe, data


def find_data(dataset: str | Data | None, scale: str) -> Data | None:
    """NAME or NAME:PATH as the scale would use it; None keeps the scale's own set. Raises
    UserError."""
    if not isinstance(dataset, str):
        return dataset
    chosen = find_scale(scale)
    name, path = name_and_path(dataset)
    return chosen.dataset(name, path=path)


def usual_data(scale: str, *, root: Path) -> tuple[Data | None, str]:
    """What tables are measured on where no set is named, and a sentence that says why: the first of
    the scale's `measured_on` that lies complete under `root`; otherwise None, the scale's own set.

    Raises:
        UserError: no such scale.
    """
    chosen = find_scale(scale)
    own, folder = chosen.data.set_name, os.fspath(root)
    for name in chosen.measured_on:
        if not missing(name, root / name):
            return chosen.dataset(name), (
                f"Data: {name}, which lies under {folder}; --dataset {own} takes this scale's own."
            )
    if not chosen.measured_on:
        return None, f"Data: {own}, the set of this scale."
    wanted = " or ".join(chosen.measured_on)
    return None, (
        f"Data: {own}, as {wanted} does not lie under {folder}; --data-root says where data lie."
    )


def wanted_data(dataset: str | Data | None, scale: str, changes: Changes) -> Data:
    """The data set that is asked for, or the scale's own, with changes of it. Raises UserError."""
    return (find_data(dataset, scale) or find_scale(scale).data).but(changes)


def known_scale(name: str) -> str:
    """The scale of that name, for other data sets; an imported encoder has none of its own."""
    return name if name in SCALES else "cifar"


def resolved(
    recipe: str | Recipe,
    *,
    scale: str,
    dataset: str | Data | None = None,
    changes: Changes | None = None,
    seed: int = 0,
) -> Resolved:
    """The experiment that is asked for.

    Args:
        recipe: a name; a YAML file, one that `--show` printed or a run's; or a recipe itself. The
            last two are taken as they are, and the scale gives the data alone.
        scale: smoke, laptop, desktop, cifar or paper.
        dataset: as `find_data` takes it.
        changes: dotted fields to values, as `--set` names them; `data.FIELD` changes the data.
    Raises:
        UserError: an unknown name or field, a wrong value, or pieces that do not fit.
    """
    own, of_data = split_changes(changes)
    data = wanted_data(dataset, scale, of_data)
    if isinstance(recipe, str) and not recipe.endswith((".yaml", ".yml")):
        return resolve(recipe, scale=scale, layers=[("--set", own)], data=data, seed=seed)
    if isinstance(recipe, Recipe):
        written = dict.fromkeys((field for field, _ in recipe.leaves()), "Python")
        changed, layers = layered(recipe, written, own, "--set", scale=scale, dataset=data.set_name)
        return Resolved(Experiment(recipe=changed, data=data, seed=seed, scale=scale), layers)
    kept = experiment_file(Path(recipe))
    experiment = kept.experiment.but(seed=seed)
    if dataset or of_data:
        experiment = experiment.but(data=data)
    changed, layers = layered(
        experiment.recipe, kept.provenance, own, "--set", scale=known_scale(experiment.scale),
        dataset=experiment.data.set_name,
    )  # fmt: skip
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


@dataclass(frozen=True, kw_only=True)
class GridRequest:
    """What is asked of the grid: some tables at a scale, and where runs and data lie.

    Attributes:
        seeds: how many (0, 1, ...), or which.
        data: in place of the scale's own, for tables that name none; `why` says in a sentence
            where the choice comes from.
        overrides: `--set` changes of the recipes.
        rows: ids of the only rows wanted; `columns`, keys of the only columns.
        fewer: rows, and baselines, that take only so many of the seeds.
    """

    tables: tuple[Table, ...]
    scale: str
    seeds: int | Sequence[int]
    data: Data | None
    overrides: Changes
    runs: Path
    root: Path
    why: str
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    fewer: Mapping[str, int] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        """The name of the data set that is trained on; of several tables' own, all of them."""
        return " + ".join(dict.fromkeys(map(self.dataset_of, self.tables)))

    def dataset_of(self, table: Table) -> str:
        """The name of the data set that a table's runs are trained on."""
        from sslbench.tables.cells import Request

        return Request(self.scale, (), self.data).trained_on(table).set_name

    @classmethod
    def of(
        cls,
        tables: Sequence[Table],
        *,
        scale: str,
        seeds: int | Sequence[int] | None,
        rows: Sequence[str] | None,
        columns: Sequence[str] | None = None,
        dataset: str | Data | None,
        changes: Changes | None,
        runs: Path,
        root: Path,
    ) -> GridRequest:
        """The request of a command or a call: `seeds` are the scale's where they are None, and
        `dataset` what each table names, or `usual_data` finds; `changes` as `resolved` takes them.
        Raises UserError with the nearest names."""
        overrides, of_data = split_changes(changes)
        chosen, data = find_scale(scale), find_data(dataset, scale)
        why = "" if data is None else f"Data: {data.set_name}, as asked for."
        if data is None:
            data, why = usual_data(scale, root=root)
            why = _said_by_tables(tables, why, changed=of_data)
        else:
            tables = [replace(table, data=None) for table in tables]
        if of_data:
            data = (data or chosen.data).but(of_data)
        return cls(
            tables=tuple(tables),
            scale=scale,
            seeds=chosen.seeds if seeds is None else seeds,
            data=data,
            overrides=overrides,
            runs=runs,
            root=root,
            why=why,
            rows=None if rows is None else tuple(rows),
            columns=None if columns is None else tuple(columns),
        )

    def plan(self) -> Plan:
        """The runs it takes. Raises UserError."""
        from sslbench.tables.grid import plan

        return plan(
            self.tables, scale=self.scale, seeds=self.seeds, rows=self.rows,
            columns=self.columns, data=self.data, overrides=self.overrides, runs=self.runs,
            root=self.root, fewer=self.fewer,
        )  # fmt: skip

    def growing(
        self, *, first: int | None, most: int | None, results: Path, device: str
    ) -> list[Growing]:
        """The tables, each with the looks that are planned at it, from `first` to `most` seeds
        (None: as `planned_looks` has it) whatever `seeds` says.

        Raises:
            UserError: a table has no claim that can be judged, or was begun by another plan.
        """
        from sslbench.engine.hardware import device_class, pick_device
        from sslbench.tables.adaptive import Growing, require_same_plan
        from sslbench.tables.sequential import planned_looks

        def at(table: Table) -> Callable[[int, Mapping[str, int]], GridRequest]:
            return lambda seeds, fewer: replace(self, tables=(table,), seeds=seeds, fewer=fewer)

        planned = planned_looks(first, most)
        found = [Growing(table, planned, at(table), dataset=self.dataset_of(table))
                 for table in self.tables]  # fmt: skip
        folder = results / self.scale / device_class(pick_device(device))
        require_same_plan(found, folder, scale=self.scale)
        return found

    def measure(self, looks: Looks | None = None) -> list[MeasuredTable]:
        """The tables as far as they have been run; `looks` as `sslbench.tables.measure` takes them.
        Raises UserError."""
        from sslbench.tables.estimates import ONE_LOOK
        from sslbench.tables.measure import measure

        return [
            measure(
                table, scale=self.scale, seeds=self.seeds, runs=self.runs, root=self.root,
                data=self.data, overrides=self.overrides, fewer=self.fewer,
                looks=looks or ONE_LOOK,
            )
            for table in self.tables
        ]  # fmt: skip


def _said_by_tables(tables: Sequence[Table], usual: str, *, changed: Changes) -> str:
    """Where the data of tables come from, some of which may name their own. Raises UserError for
    changes of a set that is not asked for by name."""
    own: dict[str, list[str]] = {}
    for table in tables:
        if table.data is not None:
            own.setdefault(table.data, []).append(table.id)
    if own and changed:
        name = next(iter(own))
        raise UserError(
            f"Table {own[name][0]} names its data set; to change data.{next(iter(changed))}, name "
            f"the set too: --dataset {name}."
        )
    said = [f"{name}, which {' and '.join(ids)} name{'s' * (len(ids) == 1)}"
            for name, ids in own.items()]  # fmt: skip
    named = f"Data: {'; '.join(said)}; --dataset takes another." if said else ""
    rest = usual if len(tables) > sum(map(len, own.values())) else ""
    return " ".join(filter(None, (named, rest)))
