"""Where each table stands: in the lecture's order, under a section and a family of methods."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from sslbench.files import read_yaml
from sslbench.typed import read_as

BEYOND = "Beyond the lecture"  # the section of tables that no slide shows
OWN = "Your own tables"  # the section of tables that the program does not know
OTHER = "other"  # their family


@dataclass(frozen=True, kw_only=True)
class _Group:
    section: str
    family: str
    tables: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Place:
    """Where a table stands; places sort in the lecture's order, tables of one's own last."""

    index: int
    section: str
    family: str


def place_of(table: str) -> Place:
    """The place of the table of that id."""
    return _places().get(table) or Place(len(_places()), OWN, OTHER)


def table_order() -> tuple[str, ...]:
    """The ids of the tables in the lecture's order."""
    return tuple(name for group in _groups() for name in group.tables)


def family_order(family: str) -> int:
    """Where a family stands: as the lecture first comes to one of its tables."""
    return min((p.index for p in _places().values() if p.family == family), default=len(_places()))


@functools.cache
def _groups() -> tuple[_Group, ...]:
    path = Path(__file__).with_name("lecture.yaml")
    return tuple(read_as(group, _Group, where=path.name) for group in read_yaml(path))


@functools.cache
def _places() -> dict[str, Place]:
    names = [(group, name) for group in _groups() for name in group.tables]
    return {name: Place(i, group.section, group.family) for i, (group, name) in enumerate(names)}
