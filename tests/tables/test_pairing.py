"""Where seeds are pairs: a rule about the rows of a table, and not a choice by what they gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench.data import load
from sslbench.engine.building import build_method
from sslbench.recipes.scales import SCALES
from sslbench.tables.cells import Request, measured_columns, resolve_cell
from sslbench.tables.comparisons import compare
from sslbench.tables.estimates import Estimate, Values, contrast, positive
from sslbench.tables.schema import Table, load_table, table_names
from tests.tiny import DATA, tiny

TABLES = [load_table(name) for name in table_names()]
ALIKE = ("name", "source", "departures")  # what a recipe is called


def differing(table: Table, scale: str) -> set[str]:
    """The fields in which the table's own runs differ."""
    request = Request(scale, (0,))
    leaves: list[dict[str, Any]] = [
        dict(resolve_cell(table, row, column, request=request).experiment.recipe.leaves())
        for row in table.rows_on(request.trained_on(table).set_name)
        for column in measured_columns(table, row)
    ]
    names = {name for one in leaves for name in one} - set(ALIKE)
    return {n for n in names if len({str(one.get(n, "absent")) for one in leaves}) > 1}


def in_the_loss_alone(fields: set[str]) -> bool:
    """Whether fields are the loss's (of one kind and target), with the batch size beside them at
    most; another kind of target is predicted by a layer of another width."""
    loss = {name for name in fields if name.startswith("objective.")}
    one_kind = not loss & {"objective.kind", "objective.target.kind"}
    return bool(loss) and one_kind and fields - loss <= {"batch_size"}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.id)
def test_seeds_are_pairs_exactly_where_rows_differ_in_the_loss_alone(table: Table) -> None:
    assert bool(table.paired) == in_the_loss_alone(differing(table, "paper"))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", [t for t in TABLES if t.paired], ids=lambda t: t.id)
def test_what_is_paired_is_so_at_every_scale(table: Table, scale: str) -> None:
    assert in_the_loss_alone(differing(table, scale))


def test_such_rows_start_from_the_same_weights(tmp_path: Path) -> None:
    rows = [tiny("dcl"), tiny("dcl", objective__positive_in_denominator=True)]
    first, second = (build_method(row, load(DATA, root=tmp_path)).state_dict() for row in rows)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert rows[0].recipe.views == rows[1].recipe.views


def estimate(*values: float, numbers: tuple[int, ...] | None = None) -> Estimate:
    return Estimate.of(values, points=True, numbers=numbers)


def test_pairs_are_compared_by_the_values_of_their_difference() -> None:
    a, b = estimate(50.0, 60.0, 70.0), estimate(49.0, 58.0, 69.0)
    c = contrast([(1, a), (-1, b)], paired=True)
    alone = contrast([(1, estimate(1.0, 2.0, 1.0))])
    assert (c.value, c.down, c.up) == pytest.approx((alone.value, alone.down, alone.up))
    assert positive(c) == "undecided" and contrast([(1, a), (-1, b)]).down > 10 * c.down


def test_pairs_are_those_of_the_seeds_that_both_have() -> None:
    a, b = estimate(50, 60, 70), estimate(49, 69, 78, numbers=(0, 2, 3))
    c = contrast([(1, a), (-1, b)], paired=True)
    assert c.value == pytest.approx(1.0)
    nothing = contrast([(1, a), (-1, estimate(1, 2, numbers=(7, 8)))], paired=True)
    assert nothing.down == nothing.up == float("inf")


def test_an_exact_value_is_no_pair() -> None:
    pixels = Estimate.of((30.0,), constant=True, points=True)
    a, b = estimate(50.0, 60.0, 71.0), estimate(49.0, 58.0, 69.0)
    c = contrast([(1, a), (-1, b), (0.1, pixels)], -2.0, paired=True)
    assert c.value == pytest.approx((1 + 2 + 2) / 3 + 3 - 2)


def test_a_single_cell_is_judged_alike() -> None:
    cells = {("a", "x"): estimate(11.0, 12.0, 11.5)}
    given = {
        paired: Values(cells=cells, first="x", chance={}, shown=(), alike=(),
                       changes={"a": {}}, paired=paired)
        for paired in (False, True)
    }  # fmt: skip
    found = [compare(values, [(-1, "a")], 20.0, positive) for values in given.values()]
    assert found[0] == found[1]
