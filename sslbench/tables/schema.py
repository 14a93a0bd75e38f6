"""The tables of the papers as data: frozen dataclasses read from YAML, one file a table."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from sslbench.data.registry import name_and_path
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.protocols import POINTS, Better, Value
from sslbench.files import read_yaml
from sslbench.recipes.scales import PublishedAt
from sslbench.tables.claims import Claim
from sslbench.tables.metrics import find_value, protocol_of
from sslbench.typed import read_as, require_name

DATA = Path(__file__).parent / "data"
T = TypeVar("T")
PRINTED = Value(key="", unit="%", better="higher")  # of a column without a metric of ours
TURNED: dict[Better, Better] = {"higher": "lower", "lower": "higher", "none": "none"}

Derive = Literal["minus_best", "row_mean", "difference"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: what is measured, and, where the paper compares methods, on which runs.

    `metric` is "<protocol>:<value>"; None is a published-only column (no protocol of ours gives
    it). `unit` and `better` are those of the metric's value unless the column names its own (a
    difference is in points). `on` names the data set that the protocol judges the runs on
    ("cifar100", or "folder:PATH") where it is another than theirs: transfer. Its images are brought
    to the runs' resolution, or to `resolution` where that is higher: several objects take more
    pixels than one. `recipe` and `set`
    make the column's cells runs of their own (`byol` / `simclr` columns, `ep100` / `ep200`
    columns). `derive` shows the metric less the column's best row (`minus_best`), the mean over
    the table's other columns (`row_mean`), or the first column of `of` less the second
    (`difference`). `negative` turns the metric's sign, where the paper prints it so. `protocol`
    names the published values' protocol where it is not comparable with the metric's (another
    probe, the best epoch on the test set): such values are shown beside ours and never subtracted.
    """

    key: str
    name: str
    unit: str | None = None
    better: Better | None = None
    metric: str | None = None
    on: str | None = None
    resolution: int | None = None
    recipe: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    derive: Derive | None = None
    of: tuple[str, ...] = ()
    negative: bool = False
    protocol: str = ""

    @property
    def measurable(self) -> bool:
        """Whether we can fill this column at all."""
        return self.metric is not None or self.derive in ("row_mean", "difference")

    @functools.cached_property
    def value(self) -> Value:
        """What is measured, with the column's own unit and direction where it names them."""
        found = find_value(self.metric, f"column {self.key}") if self.metric else PRINTED
        unit = found.unit if self.unit is None else self.unit
        usual = TURNED[found.better] if self.negative else found.better
        return replace(found, unit=unit, better=self.better or usual)

    @property
    def in_points(self) -> bool:
        """Whether values are percentages or points, where 0.3 is the least that counts."""
        return self.value.unit in POINTS


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its published values, and the change against the table's base that makes it.

    `key` are coordinates for curves and reports; `set` the dotted changes. A row that cannot be
    trained here says why in `not_trainable` and shows its published values only. `skip` names
    columns where the row's change does not exist. `dataset` names the data set that the published
    values are of, in a table that has several; such a row's id ends in it, and what stands before
    tells which rows are the same on other sets.
    """

    id: str
    label: str
    key: Mapping[str, Any] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    dataset: str | None = None
    not_trainable: str | None = None
    skip: tuple[str, ...] = ()
    paper: Mapping[str, float | None] = field(default_factory=dict)
    spread: Mapping[str, float] = field(default_factory=dict)
    certain: bool = True
    source: str = ""
    note: str = ""

    @property
    def stem(self) -> str:
        """The id less the data set: equal for rows that are the same on several sets."""
        return self.id.removesuffix(self.dataset or "")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A curve: `columns` over the numeric row coordinate `x`, one line per value of `series`."""

    id: str
    title: str
    x: str
    columns: tuple[str, ...]
    series: str | None = None
    log2: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """A published table, or one of our own (no published values), as runs, columns and claims.

    `base` is the recipe of rows that name none; `set` applies to every row (the table's setting
    where it differs from the recipe; what a row's own recipe lacks is left out). `data` names the
    set that the runs are trained on, as `Column.on` does, where it is another than the scale's:
    dense methods want images of several objects. `lecture` says
    where the lecture shows it, `values_from` where the published values of rows without their own
    `source` were taken from. `chance` is the published setting's chance accuracy in
    percent (None where the table has no published values, or several data sets). `published_at`
    is the scale whose settings the published values have: there the rows' values are taken
    literally, elsewhere mapped. `monitor_points` asks for that many points of the kNN curve in
    every run (None: the usual ones); they change nothing of what is trained, nor a run's identity.
    `paired` says why seeds of different rows are pairs (the same start, the same views in the same
    order), so that claims compare them seed by seed; "" where they are not, and rows are taken as
    independent. It is decided before anything is measured.
    """

    id: str
    title: str
    source: str
    arxiv: str = ""
    lecture: str = ""
    values_from: str = ""
    kind: Literal["ablation", "comparison", "curve", "leaderboard"] = "ablation"
    setting: Mapping[str, Any] = field(default_factory=dict)
    base: str
    set: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    published_at: PublishedAt = "paper"
    chance: float | None = None
    monitor_points: int | None = None
    paired: str = ""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sweeps: tuple[Sweep, ...] = ()
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()

    def column(self, key: str) -> Column:
        """The column of that key. Raises UserError with the nearest names."""
        return _named(self.columns, key, "key", f"table {self.id} has no column")

    def row(self, name: str) -> Row:
        """The row of that id. Raises UserError with the nearest names."""
        return _named(self.rows, name, "id", f"table {self.id} has no row")

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that rows are published on, in the order of the rows."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows if row.dataset))

    def rows_on(self, dataset: str) -> tuple[Row, ...]:
        """The rows that training on a data set fills: its own where it has any, otherwise those of
        the table's first set, for which it stands in."""
        chosen = dataset if dataset in self.datasets else next(iter(self.datasets), None)
        return tuple(row for row in self.rows if row.dataset in (None, chosen))


# Where each table is, by id: its file, or itself where it has none. A table that is named by its
# path is added when it is read.
TABLES: dict[str, Path | Table] = {path.stem: path for path in sorted(DATA.glob("*.yaml"))}


def table_names() -> list[str]:
    """Ids of all known tables, sorted; reads no file's content."""
    return sorted(TABLES)


def load_table(name: str) -> Table:
    """The table of that id, or of that file. Raises UserError with the nearest names, what is
    wrong in the file, or that its id is another table's."""
    if _names_file(name):
        return add_table(Path(name))
    if name not in TABLES:
        raise UserError(f"No table '{name}'{did_you_mean(name, TABLES)}")
    found = TABLES[name]
    return found if isinstance(found, Table) else read_table(found)


def table_id(name: str) -> str:
    """The id of the table of that file, which is known from now on; any other word as it is.
    Raises UserError as `load_table`."""
    return load_table(name).id if _names_file(name) else name


def _names_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def add_table(source: Path | Table) -> Table:
    """A table of one's own, known by its id from now on. Raises UserError as `load_table`."""
    table = source if isinstance(source, Table) else read_table(source)
    place = source if isinstance(source, Table) else source.resolve()
    known = TABLES.setdefault(table.id, place)
    if known != place:
        where = known if isinstance(known, Path) else "another table"
        raise UserError(f"The id '{table.id}' is that of {where}; give the table another id.")
    return table


def read_table(path: Path) -> Table:
    """A table from a YAML file. Raises UserError: unreadable, unknown field, broken reference."""
    return parse_table(read_yaml(path), where=path.name if path.parent == DATA else str(path))


def parse_table(document: Any, *, where: str) -> Table:
    """A table from plain data, checked: ids are unique, and every reference exists."""
    if not isinstance(document, Mapping):
        raise UserError(f"{where} is not a mapping; see the other files in tables/data.")
    claims = document.get("claims", [])
    if not isinstance(claims, list):
        raise UserError(f"{where}: claims: needs a list.")
    parsed = [Claim.from_dict(c, where=f"{where}: claims[{i}]") for i, c in enumerate(claims)]
    table = read_as({**document, "claims": parsed}, Table, where=where)
    _check(table, where)
    origin = table.values_from
    rows = tuple(r if r.source else replace(r, source=origin) for r in table.rows)
    return replace(table, rows=rows)


def _check(table: Table, where: str) -> None:
    if table.monitor_points is not None and table.monitor_points < 1:
        raise UserError(f"{where}: monitor_points {table.monitor_points} must be at least 1.")
    require_name(table.id, f"{where}: id")
    if table.data is not None:
        _require_set(table.data, f"{where}: data")
    if not table.columns or not table.rows:
        raise UserError(f"{where}: a table needs a column and a row.")
    _unique([c.key for c in table.columns], f"{where}: column")
    _unique([r.id for r in table.rows], f"{where}: row")
    _unique([c.id for c in table.claims], f"{where}: claim")
    for column in table.columns:
        if (column.derive == "difference") != (len(column.of) == 2):
            raise UserError(
                f"{where}: column {column.key} needs 'derive: difference' together with 'of', two "
                "columns."
            )
        for name in column.of:
            table.column(name)
        if column.metric is not None:
            find_value(column.metric, f"{where}: column {column.key}")
        _check_on(column, where)
    for row in table.rows:
        for name in (*row.paper, *row.spread, *row.skip):
            table.column(name)
        if row.dataset and not f"-{row.id}".endswith(f"-{row.dataset}"):
            raise UserError(f"{where}: the id of row {row.id} must end in '{row.dataset}'.")
        for column in table.columns:
            if row.recipe and column.recipe:
                raise UserError(
                    f"{where}: row {row.id} and column {column.key} both name a recipe."
                )
    for sweep in table.sweeps:
        for name in sweep.columns:
            table.column(name)
    for claim in table.claims:
        if claim.dataset and claim.dataset not in table.datasets:
            raise UserError(f"{where}: claim {claim.id}: no row is of {claim.dataset}.")
        for operand in claim.operands():
            find_cell(table, operand)
        for key in claim.columns():
            table.column(key)


def _check_on(column: Column, where: str) -> None:
    if column.on is None:
        if column.resolution is not None:
            raise UserError(f"{where}: column {column.key}: 'resolution' goes with 'on'.")
        return
    if protocol_of(column.metric) is None:
        raise UserError(
            f"{where}: column {column.key}: 'on' is the data set of a score; give the column the "
            "metric of a protocol, such as linear.features.v1:top1."
        )
    _require_set(column.on, f"{where}: column {column.key}: on")


def _require_set(name: str, where: str) -> None:
    try:
        name_and_path(name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def find_cell(table: Table, operand: str) -> tuple[str, str]:
    """(row id, column key) of "row" (first column) or "row.column"; `untrained` and `raw-pixels`
    are rows of every table. Raises UserError with the nearest names."""
    known = {row.id for row in table.rows} | set(BASELINES)
    if operand in known:
        return operand, table.columns[0].key
    row, dot, key = operand.rpartition(".")
    if not dot or row not in known:
        table.row(row if dot and row else operand)
    return row, table.column(key).key


BASELINES = ("untrained", "raw-pixels")  # measured beside every table


def _named(items: Iterable[T], name: str, attribute: str, message: str) -> T:
    by_name = {getattr(item, attribute): item for item in items}
    if name not in by_name:
        raise UserError(f"{message} '{name}'{did_you_mean(name, by_name)}")
    return by_name[name]


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what} '{name}' occurs twice.")
