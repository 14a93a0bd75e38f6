"""From a cell of a table to the experiment that fills it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sslbench.data.registry import name_and_path, resolution_of
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.resolve import Layer, Resolved, Scaled, find_scale, resolve, scaled
from sslbench.recipes.specs import Data
from sslbench.tables.jobs import Scoring
from sslbench.tables.metrics import protocol_of
from sslbench.tables.schema import BASELINES, Column, Row, Table


@dataclass(frozen=True)
class Request:
    """What a grid is asked for: scale, seeds, data in place of the scale's, `--set` changes.

    `fewer` has the rows, baselines among them, that take only so many of the seeds, `columns` the
    keys of the only columns wanted, where not all of them are.
    """

    scale: str
    seeds: tuple[int, ...]
    data: Data | None = None
    overrides: Mapping[str, Any] | None = None
    fewer: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None

    def wants(self, column: Column) -> bool:
        """Whether a column is measured."""
        return self.columns is None or column.key in self.columns

    def seeds_of(self, row: str) -> tuple[int, ...]:
        """The seeds of a row or baseline."""
        return self.seeds[: self.fewer.get(row)]

    def trained_on(self, table: Table) -> Data:
        """The data set of a table's runs: its own where it names one."""
        if table.data is not None:
            return named_data(table.data, self.scale)
        return self.data or find_scale(self.scale).data


def named_data(text: str, scale: str) -> Data:
    """NAME or NAME:PATH as the scale would use it. Raises UserError."""
    name, path = name_and_path(text)
    return find_scale(scale).dataset(name, path=path)


@dataclass(frozen=True)
class Place:
    """A cell and a seed that a run feeds."""

    table: str
    row: str
    column: str
    seed: int


def measured_columns(table: Table, row: Row) -> list[Column]:
    """The columns of a row that a run fills."""
    if row.not_trainable:
        return []
    return [c for c in table.columns if c.metric is not None and c.key not in row.skip]


def resolve_cell(
    table: Table,
    row: Row,
    column: Column,
    *,
    request: Request,
    known: dict[str, Scaled] | None = None,
) -> Resolved:
    """The experiment of one cell for seed 0: recipe < scale < table < column < row < --set.

    The table's setting speaks to the pieces that the row's recipe has at this scale. A row's
    change to a piece of the views that the scale has switched off (blur at 32 pixels) changes
    nothing there.

    Raises:
        UserError: the pieces do not fit; the sentence names the table and the row.
    """
    name = row.recipe or column.recipe or table.base
    known = {} if known is None else known
    try:
        if name not in known:
            known[name] = scaled(name, scale=request.scale, data=request.trained_on(table),
                                 published_at=table.published_at)  # fmt: skip
        setting = {k: v for k, v in table.set.items() if known[name].recipe.has(k)}
        before = known[name].under(
            (f"table {table.id}", setting), (f"column {column.key}", column.set)
        )
        optional = [p for p in row.set if p.startswith(("views.first.", "views.second."))]
        changes = {k: v for k, v in row.set.items() if k not in optional or before.recipe.has(k)}
        found = before.under((f"row {row.id}", changes))
        fitting = _fitting(found.recipe, request.overrides or {})
        return found.under(*([("--set", fitting)] if fitting else [])).resolved()
    except UserError as error:
        raise UserError(f"Table {table.id}, row {row.id}: {error}") from None


def _fitting(recipe: Recipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The `--set` changes of fields that the recipe has; what a row starts from is a run of the
    grid too, and changes with it."""
    of_start = {f"start.{k}": v for k, v in overrides.items() if not k.startswith("start")}
    return {k: v for k, v in {**of_start, **overrides}.items() if recipe.has(k)}


def resolve_baseline(table: Table, name: str, *, request: Request) -> Resolved:
    """The untrained encoder or raw pixels at the table's scale and data, for seed 0. Untrained is
    the encoder of the table's base, with the table's and `--set`'s changes."""
    layers: list[Layer] = []
    data = request.trained_on(table)
    if name == "untrained":
        base = resolve(table.base, scale=request.scale, data=data).experiment.recipe
        changes = [
            ("table's base", {"encoder": base.encoder}),
            (f"table {table.id}", table.set),
            ("--set", request.overrides or {}),
        ]
        layers = [
            (layer, {k: v for k, v in c.items() if k.startswith("encoder") and base.has(k)})
            for layer, c in changes
        ]
    return resolve(
        name,
        scale=request.scale,
        layers=layers,
        data=data,
        published_at=table.published_at,
    )


def scoring_of(table: Table, column: Column, *, request: Request) -> Scoring | None:
    """What a column's score takes: its protocol, and the data set that it names, as the scale has
    it, brought to the resolution of the runs or of the column. None where it shows no score."""
    protocol = protocol_of(column.metric)
    if protocol is None or column.on is None:
        return Scoring(protocol=protocol) if protocol else None
    own = request.trained_on(table)
    side = max(resolution_of(own), column.resolution or 0)
    data = named_data(column.on, request.scale).but(resolution=side)
    return Scoring(protocol=protocol, data=None if data == own else data)


def baselines(table: Table) -> list[str]:
    """The baselines that are measured beside the table's own rows."""
    own = {row.id for row in table.rows}
    return [name for name in BASELINES if name not in own]


def is_constant(recipe: Recipe) -> bool:
    """Whether the representation has no randomness, so that one seed is exact."""
    return not recipe.encoder.trainable


def cells(
    table: Table, *, request: Request, rows: tuple[str, ...] | None = None
) -> Iterator[tuple[Place, Resolved]]:
    """Every place of the table that a run fills, with its experiment; baselines last.

    Args:
        rows: ids of the rows wanted (None: all of the data set trained on).
    Raises:
        UserError: an unknown row id, a row of another data set, pieces that do not fit, or an
            encoder that has nothing for a column's protocol. A baseline has no such cell.
    """
    fitting = table.rows_on(request.trained_on(table).set_name)
    chosen = list(fitting) if rows is None else [table.row(name) for name in rows]
    for row in chosen:
        if row not in fitting:
            raise UserError(
                f"Table {table.id}, row {row.id}: its values are of {row.dataset}; measure it with "
                f"--dataset {row.dataset}."
            )
    recipes: dict[str, Scaled] = {}
    for row in chosen:
        known: dict[str, Resolved] = {}  # top-1, top-5 and kNN columns share their runs
        runs: dict[str, list[Resolved]] = {}
        for column in filter(request.wants, measured_columns(table, row)):
            key = f"{column.recipe} {column.set}"
            if key not in known:
                known[key] = resolve_cell(table, row, column, request=request, known=recipes)
                runs[key] = _seeds(known[key], request.seeds_of(row.id))
            if unfit := _unfit(column, known[key]):
                raise UserError(f"Table {table.id}, row {row.id}: {unfit}")
            yield from _places(Place(table.id, row.id, column.key, 0), runs[key])
    for name in baselines(table):
        resolved = resolve_baseline(table, name, request=request)
        seeds = _seeds(resolved, request.seeds_of(name))
        for column in filter(request.wants, table.columns):
            scored = protocol_of(column.metric) and column.derive is None
            if scored and not _unfit(column, resolved):
                yield from _places(Place(table.id, name, column.key, 0), seeds)


def _unfit(column: Column, resolved: Resolved) -> str:
    """Why a column's protocol has nothing to measure of an encoder; "" where it has."""
    name = protocol_of(column.metric)
    try:
        if name is not None:
            PROTOCOLS[name].require_recipe(resolved.experiment.recipe)
    except UserError as error:
        return str(error)
    return ""


def _seeds(resolved: Resolved, seeds: tuple[int, ...]) -> list[Resolved]:
    """The experiment of every seed, or of one where the representation has no randomness."""
    constant = is_constant(resolved.experiment.recipe)
    return [
        Resolved(resolved.experiment.but(seed=seed), resolved.provenance)
        for seed in (seeds[:1] if constant else seeds)
    ]


def _places(place: Place, found: list[Resolved]) -> Iterator[tuple[Place, Resolved]]:
    """The cell for every seed."""
    for resolved in found:
        yield replace(place, seed=resolved.experiment.seed), resolved
