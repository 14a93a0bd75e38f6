"""Leaderboards of any recipes: tables without published values, made when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sslbench.errors import UserError
from sslbench.recipes.resolve import find_recipe
from sslbench.tables.claims import Claim
from sslbench.tables.predicate import Predicate
from sslbench.tables.schema import Column, Row, Table, add_table

LONGEST = 80  # id, which names a file, behind which the data set's name may stand
COLUMNS = (
    Column(key="linear", name="linear top-1", metric="linear.features.v1:top1"),
    Column(key="knn", name="kNN top-1", metric="knn.v1:top1"),
    Column(key="minutes", name="training", unit="min", better="lower", metric="run:minutes"),
)
_START = "leaderboard-"


def leaderboard(recipes: Sequence[str]) -> Table:
    """Some recipes, a row each, under the same protocols; known by its id from now on.

    The untrained encoder beside them is that of the first recipe. Its claims are that the first is
    above each of the others.

    Raises:
        UserError: no recipe, or an unknown one, with the nearest names.
    """
    names = list(dict.fromkeys(name.strip() for name in recipes if name.strip()))
    if not names:
        raise UserError("--recipes names no recipe; write --recipes simclr,byol.")
    for name in names:
        find_recipe(name)
    return add_table(
        Table(
            id=_id(names),
            title=f"{', '.join(names)} under the same protocols",
            source="sslbench",
            kind="leaderboard",
            base=names[0],
            columns=COLUMNS,
            rows=tuple(Row(id=name, label=name, recipe=name) for name in names),
            claims=tuple(_above(names[0], name) for name in names[1:]),
        )
    )


def is_leaderboard(table: str) -> bool:
    """Whether a table's id is one that is made here."""
    return table.startswith(_START)


def _above(first: str, other: str) -> Claim:
    return Claim(
        id=f"{first}-above-{other}",
        says=f"{first} is above {other} ({COLUMNS[0].name}).",
        published=None,
        ours=Predicate("greater", (first, other)),
        words="A claim of our own, without published values.",
    )


def _id(names: Sequence[str]) -> str:
    text = _START + "-".join(names)
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
    return f"{_START}of-{len(names)}-{digest}"
