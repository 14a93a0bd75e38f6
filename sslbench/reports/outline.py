"""Measured tables in the order to read them: the lecture's, one entry a table.

A table that was measured more than once has one head, whose verdicts are counted; the others stand
below it. Which is the head depends on how it was measured, never on what came out: current numerics
before older ones, then the larger scale, photographs before drawn images, more seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sslbench.data.registry import DATASETS
from sslbench.recipes.scales import SCALES
from sslbench.reports.display import is_measured, table_key
from sslbench.tables.lecture import Place, place_of
from sslbench.tables.results import MeasuredTable

RULE = (
    "A table that was measured more than once counts once: current numerics before older ones, "
    "then the larger scale, photographs before drawn images, more seeds."
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One table with all its measurements, the head first; `names` are their anchors and files."""

    id: str
    place: Place
    tables: tuple[MeasuredTable, ...]
    names: tuple[str, ...]

    @property
    def head(self) -> MeasuredTable:
        """The measurement whose verdicts are counted."""
        return self.tables[0]


def outline(tables: Sequence[MeasuredTable]) -> list[Entry]:
    """An entry a table, in the lecture's order; tables of one's own last, by id."""
    alike: dict[str, list[MeasuredTable]] = {}
    for table in tables:
        alike.setdefault(table.id, []).append(table)
    entries = [_entry(name, found) for name, found in alike.items()]
    return sorted(entries, key=lambda entry: (entry.place, entry.id))


def _entry(name: str, found: list[MeasuredTable]) -> Entry:
    ordered = sorted(found, key=_preference)
    names = (name, *(table_key(table) for table in ordered[1:]))
    return Entry(id=name, place=place_of(name), tables=tuple(ordered), names=names)


def _preference(table: MeasuredTable) -> tuple[bool, bool, int, bool, int, str]:
    """What is preferred sorts first; nothing of it depends on a measured value."""
    scales = list(SCALES)
    size = scales.index(table.scale) if table.scale in scales else -1
    info = DATASETS.get(table.dataset)
    drawn = info is not None and info.drawn
    seeds = len(table.seeds)
    return (not is_measured(table), table.stale, -size, drawn, -seeds, table_key(table))
