from __future__ import annotations

from collections.abc import Callable

import pytest

from sslbench.engine.folder import NUMERICS
from sslbench.reports.outline import outline
from sslbench.tables.results import Cell, MeasuredTable
from tests.reports.conftest import row

Build = Callable[..., MeasuredTable]


def test_tables_follow_the_lecture_and_ones_own_stand_last(measured: Build) -> None:
    names = [
        "mine",
        "leaderboard",
        "dino-ablation",
        "barlow-loss",
        "byol-beta",
        "simclr-temperature",
    ]
    entries = outline([measured(name, "held") for name in names])
    order = [
        "byol-beta",
        "barlow-loss",
        "dino-ablation",
        "leaderboard",
        "simclr-temperature",
        "mine",
    ]
    assert [entry.id for entry in entries] == order


@pytest.mark.parametrize(
    ("head", "below"),
    [
        ({"scale": "cifar"}, {"scale": "laptop"}),
        ({"scale": "laptop"}, {"scale": "smoke"}),
        ({"dataset": "cifar10"}, {"dataset": "shapes"}),
        ({"seeds": (0, 1, 2, 3)}, {"seeds": (0, 1, 2)}),
        ({"scale": "smoke"}, {"scale": "cifar", "numerics": NUMERICS - 1}),
        ({"scale": "smoke", "seeds": (0,)}, {"scale": "cifar", "dataset": "shapes", "empty": True}),
    ],
    ids=lambda fields: "-".join(map(str, fields.values())).replace(" ", ""),
)
def test_the_head_is_chosen_by_how_it_was_measured(
    measured: Build, head: dict[str, object], below: dict[str, object]
) -> None:
    """And not by its outcome: both ways round, the same one leads."""
    for outcomes in (("held", "undecided"), ("undecided", "held")):
        tables = [
            _build(measured, outcome, dict(fields))
            for outcome, fields in zip(outcomes, (head, below), strict=True)
        ]
        for order in (tables, tables[::-1]):
            (entry,) = outline(order)
            assert entry.head is tables[0]
            assert entry.tables[1:] == (tables[1],)


def _build(measured: Build, outcome: str, fields: dict[str, object]) -> MeasuredTable:
    if fields.pop("empty", False):
        fields["rows"] = [row("only", "the only row", {"top1": Cell(state="missing")})]
    return measured("byol-beta", outcome, **fields)


def test_every_measurement_has_a_name_of_its_own(measured: Build) -> None:
    places = [
        ("laptop", "shapes"),
        ("laptop", "cifar10"),
        ("cifar", "cifar10"),
        ("smoke", "shapes"),
    ]
    tables = [measured("byol-beta", "held", scale=s, dataset=d) for s, d in places]
    (entry,) = outline(tables)
    assert len(set(entry.names)) == 4
    assert entry.names[0] == "byol-beta"
