"""Measured tables: every cell with every seed, the claims' outcomes, and where it was measured."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from sslbench.engine.folder import NUMERICS
from sslbench.errors import UserError
from sslbench.evaluation.protocols import Better
from sslbench.files import read_json, write_atomically
from sslbench.recipes.resolve import find_scale
from sslbench.tables.estimates import Outcome, t_quantile
from sslbench.tables.sequential import Look, require_planned
from sslbench.typed import damaged, read_as, require_name

CellState = Literal["measured", "diverged", "failed", "missing", "published-only"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: a value for every seed, beside the published one.

    `seeds` are (seed, value) in seed order; a value is None where that run diverged or its metric
    is not finite. `state`: `measured` (some seed has a value), `diverged` (every seed's run ended
    with a non-finite value), `failed` (`note` has the sentence), `missing` (not run yet),
    `published-only`. `constant` marks a value without randomness (raw pixels): one run is exact.
    `comparable` is false where the published value is of another protocol, not to be subtracted.
    """

    PRINTED: ClassVar = ("mean", "interval", "n", "difference")

    state: CellState
    seeds: tuple[tuple[int, float | None], ...] = ()
    published: float | None = None
    spread: float | None = None
    constant: bool = False
    comparable: bool = True
    runs: tuple[str, ...] = ()
    note: str = ""

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The finite values, in seed order."""
        return tuple(v for _, v in self.seeds if v is not None)

    @property
    def n(self) -> int:
        """How many seeds have a value."""
        return len(self.values)

    @cached_property
    def mean(self) -> float | None:
        """Mean over the seeds that have a value."""
        return math.fsum(self.values) / self.n if self.n else None

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (n - 1); 0 for a constant, None for one seed."""
        return 0.0 if self.constant and self.n else sample_std(self.values)

    @cached_property
    def interval(self) -> float | None:
        """Half-width of the 95 % t-interval of the mean; None for one seed."""
        if self.constant and self.n:
            return 0.0
        return half_width(self.values)

    @property
    def difference(self) -> float | None:
        """Ours less published, or None where either is absent or the protocols differ."""
        mean = self.mean
        if mean is None or self.published is None or not self.comparable:
            return None
        return mean - self.published

    def to_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = {"state": self.state, "seeds": [list(pair) for pair in self.seeds]}
        out |= {"mean": self.mean, "interval": self.interval, "n": self.n}
        out |= {"published": self.published, "spread": self.spread, "difference": self.difference}
        out |= {"constant": self.constant, "comparable": self.comparable}
        return out | {"runs": list(self.runs), "note": self.note}


@dataclass(frozen=True, kw_only=True)
class ScoredOn:
    """The data set of a column's scores, where it is another than the runs'; `chance` is of one
    guess, in percent, `resolution` the side of the images (None in results that do not say it)."""

    dataset: str
    fingerprint: str
    num_test: int
    chance: float
    resolution: int | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuredColumn:
    """A column's heading; `definition` is the hash of its protocol's settings, `protocol` the
    published values' own where it is not comparable, `on` the data set of its scores where it is
    not the table's."""

    key: str
    name: str
    unit: str
    better: Better
    metric: str | None
    definition: str = ""
    protocol: str = ""
    on: ScoredOn | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {**vars(self)}
        on = plain.pop("on")
        return plain if on is None else plain | {"on": vars(on)}


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """One row's cells by column key.

    `changes` are the row's dotted changes as they were run (a published batch of 4096 may be 256
    here); `verdicts` count the runs' verdicts ("healthy": 3); `minutes` is the runs' own time.
    """

    id: str
    label: str
    cells: Mapping[str, Cell]
    key: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False
    certain: bool = True
    source: str = ""
    note: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    minutes: float = 0.0


@dataclass(frozen=True)
class ClaimResult:
    """A claim's outcome on the published values and on ours; `detail` says what decided ours, and
    what is known of printed values that contradict the sentence.

    `published` is None where the paper states the claim in words only. `judged_on` is the data set
    that ours was measured on, `about` the sets that the sentence's own values are of.
    """

    PRINTED: ClassVar = ("verdict",)

    id: str
    says: str
    published: Outcome | None
    ours: Outcome
    detail: str = ""
    judged_on: str = ""
    about: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Ours in words, with the data set where the sentence is about another, or about more."""
        return f"{self.ours} ({self.elsewhere})" if self.elsewhere else self.ours

    @property
    def elsewhere(self) -> str:
        """That ours was judged on another data set than the sentence is about; "" where not."""
        same = len(self.about) == 1 and self._is_about(self.about[0])
        if self.ours == "not measured" or not self.about or same:
            return ""
        return f"on {self.judged_on}; the sentence is about {', '.join(self.about)}"

    def _is_about(self, text: str) -> bool:
        """Whether a text, such as "STL-10 train+unlabelled", names the set judged on alone."""
        ours, theirs = (re.sub(r"[^a-z0-9]", "", n.lower()) for n in (self.judged_on, text))
        several = re.search(r"[,;]| and ", text)
        return not several and re.match(rf"{ours}(?!\d)", theirs) is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "verdict": self.verdict}


@dataclass(frozen=True, kw_only=True)
class MeasuredTable:
    """A table as measured at one scale on one kind of device. JSON keeps every seed.

    `rows` are the table's rows in order, `baselines` the untrained encoder and raw pixels under
    the same protocols. `chance` is in percent. `rank_agreement` is Kendall's tau of our row means
    against the published values, per column that has at least three pairs. `numerics` is the
    oldest among the runs; `stale` says whether it is older than this version's. Where seeds were
    added until claims were decided, `planned` has the seeds of each look, fixed before the first,
    and `looks` those that were taken; `claims` is what the last one found.
    """

    PRINTED: ClassVar = ("stale", "complete")

    id: str
    title: str
    source: str
    arxiv: str
    setting: Mapping[str, Any]
    notes: tuple[str, ...]
    scale: str
    dataset: str
    fingerprint: str
    num_test: int
    chance: float
    seeds: tuple[int, ...]
    overrides: Mapping[str, Any]
    columns: tuple[MeasuredColumn, ...]
    rows: tuple[MeasuredRow, ...]
    baselines: tuple[MeasuredRow, ...]
    claims: tuple[ClaimResult, ...]
    rank_agreement: Mapping[str, float]
    numerics: int
    device: str
    device_class: str
    commit: str
    torch: str
    minutes: float
    plugins: tuple[str, ...] = ()  # with the start of their hashes
    planned: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether some row was measured with older numerics than this version's."""
        return self.numerics < NUMERICS

    @property
    def complete(self) -> bool:
        """Whether every cell that can be measured has been."""
        cells = [c for row in (*self.rows, *self.baselines) for c in row.cells.values()]
        return all(c.state in ("measured", "diverged", "published-only") for c in cells)

    def cell(self, row: str, column: str) -> Cell:
        """The cell by ids, baselines included."""
        for candidate in (*self.rows, *self.baselines):
            if candidate.id == row and column in candidate.cells:
                return candidate.cells[column]
        raise UserError(f"Measured table {self.id} has no cell {row}.{column}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        out = {**vars(self), "stale": self.stale, "complete": self.complete}
        out["columns"] = [column.to_dict() for column in self.columns]
        out["claims"] = [claim.to_dict() for claim in self.claims]
        out["looks"] = [asdict(look) for look in self.looks]
        for name in ("rows", "baselines"):
            out[name] = [
                {**vars(row), "cells": {k: c.to_dict() for k, c in row.cells.items()}}
                for row in out[name]
            ]
        return out

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_atomically(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> MeasuredTable:
        """Read what `save` wrote. Raises UserError: a missing or damaged file."""
        table = read_as(read_json(path), cls, where=path, remedy=_REMEDY)
        try:
            _check(table)
        except UserError as error:
            raise damaged(path, error, _REMEDY) from None
        return table


_REMEDY = "restore it, or measure the table again with `sslbench ablate`"


def _check(table: MeasuredTable) -> None:
    """Raise UserError unless the parts of a table that was read belong together."""
    for name in ("id", "scale", "dataset"):
        if text := getattr(table, name):
            require_name(text, name)
    require_planned(table.planned, table.looks)
    _unique([column.key for column in table.columns], "column")
    rows = (*table.rows, *table.baselines)
    _unique([row.id for row in rows], "row")
    known = {column.key for column in table.columns}
    for column in table.columns:
        if column.on is not None:
            require_name(column.on.dataset, f"column {column.key}: on")
    for row in rows:
        for key, cell in row.cells.items():
            where = f"row {row.id}, {key}"
            if key not in known:
                raise UserError(f"{where}: there is no such column")
            _unique([seed for seed, _ in cell.seeds], f"{where}: seed")
            if (cell.state == "measured") != bool(cell.n):
                raise UserError(f"{where}: '{cell.state}' with {cell.n} values")


def _unique(names: Sequence[object], what: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{what} {name} stands twice")


def sample_std(values: tuple[float, ...]) -> float | None:
    """Sample standard deviation (n - 1), or None below two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def half_width(values: tuple[float, ...]) -> float | None:
    """Half-width of the 95 % t-interval of the mean over seeds, or None below two values."""
    std = sample_std(values)
    if std is None:
        return None
    return t_quantile(len(values) - 1) * std / math.sqrt(len(values))


def result_path(results: Path, table: MeasuredTable) -> Path:
    """Where a measured table is kept."""
    where = results / table.scale / (table.device_class or "unmeasured")
    return where / result_name(table.id, scale=table.scale, dataset=table.dataset)


def result_name(table: str, *, scale: str, dataset: str) -> str:
    """The name of a table's file under results/<scale>/<device class>: <table>.json, with the data
    set's name behind the table's where it is not the scale's own."""
    own = dataset == find_scale(scale).data.set_name
    return f"{table}.json" if own else f"{table}-{dataset}.json"


def on_own_data(table: MeasuredTable) -> bool:
    """Whether a table was measured on its scale's own data set."""
    return table.dataset == find_scale(table.scale).data.set_name
