"""Rows of a stored table whose settings have changed since it was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.engine.folder import NUMERICS
from sslbench.engine.place import folder_name
from sslbench.reports.company import notes
from sslbench.reports.sentences import measured_facts
from sslbench.tables.cells import Request, cells
from sslbench.tables.moved import moved_rows
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import load_table

STORED = Path(__file__).parents[2] / "results/smoke/cpu-avx512bf16/leaderboard.json"


@pytest.fixture(scope="module")
def today() -> MeasuredTable:
    """The smoke leaderboard as it would be measured now, its first seed alone."""
    stored = MeasuredTable.load(STORED)
    request = Request(stored.scale, (0,), None, {})
    runs = {(p.row, p.column): folder_name(r.experiment, stored.fingerprint)
            for p, r in cells(load_table(stored.id), request=request)}  # fmt: skip

    def named(rows):
        return tuple(
            replace(row, cells={
                key: replace(cell, runs=(runs[row.id, key],), seeds=cell.seeds[:1])
                for key, cell in row.cells.items()
            })
            for row in rows
        )  # fmt: skip

    return replace(stored, numerics=NUMERICS, seeds=(0,), rows=named(stored.rows),
                   baselines=named(stored.baselines))  # fmt: skip


def test_nothing_has_moved_of_what_is_measured_now(today: MeasuredTable) -> None:
    assert moved_rows(today) == ()
    assert "other settings" not in measured_facts(today)


def test_a_row_of_another_run_is_named(today: MeasuredTable) -> None:
    row = today.rows[0]
    other = {k: replace(c, runs=("other-s0-0123456789abcdef",)) for k, c in row.cells.items()}
    moved = replace(today, rows=(replace(row, cells=other), *today.rows[1:]))
    assert moved_rows(moved) == (row.id,)
    assert "1 row had other settings than now" in measured_facts(moved)
    assert any(f"changed since of {row.id} " in note for note in notes(moved))


def test_overrides_are_part_of_the_settings(today: MeasuredTable) -> None:
    moved = moved_rows(replace(today, overrides={"objective.temperature": 0.123}))
    assert "simclr" in moved and "byol" not in moved and "raw-pixels" not in moved


def test_older_numerics_say_it_already(today: MeasuredTable) -> None:
    assert moved_rows(replace(today, numerics=NUMERICS - 1, overrides={"optimizer.lr": 1.0})) == ()
    assert moved_rows(replace(today, id="no-such-table")) == ()
