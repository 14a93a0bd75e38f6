from __future__ import annotations

import dataclasses
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sslbench.engine.folder import NUMERICS
from sslbench.errors import UserError
from sslbench.reports.check import check
from sslbench.reports.terminal import show_check
from sslbench.tables.results import Cell, ClaimResult, MeasuredColumn, MeasuredTable, ScoredOn

MakeCell = Callable[..., Cell]
MakeTable = Callable[..., MeasuredTable]


def draw(mean: float, *, seed: int, std: float = 0.5, n: int = 5) -> list[float]:
    generator = random.Random(seed)
    return [mean + generator.gauss(0, std) for _ in range(n)]


@pytest.fixture
def compare(make_cell: MakeCell, make_table: MakeTable) -> Callable[..., str]:
    """The verdict on one cell, from seed values or cells (measured, reference)."""

    def verdict(measured: Any, reference: Any, **more: Any) -> str:
        cells = [v if isinstance(v, Cell) else make_cell(v) for v in (measured, reference)]
        new, old = (make_table({"row": cell}, **more) for cell in cells)
        return check([new], [old]).cells[0].verdict

    return verdict


def test_the_reference_passes_against_itself(stop_grad: MeasuredTable) -> None:
    report = check([stop_grad], [stop_grad])
    assert report.ok
    assert report.exit_code == 0
    assert {cell.verdict for cell in report.cells} == {"same"}


def test_another_sample_of_the_same_distribution_passes(compare: Callable[..., str]) -> None:
    verdicts = [compare(draw(60, seed=2 * i), draw(60, seed=2 * i + 1)) for i in range(200)]
    assert verdicts.count("regression") <= 5  # one in a hundred is what p < 0.01 allows
    assert verdicts.count("same") >= 190


def test_a_planted_regression_fails(compare: Callable[..., str]) -> None:
    assert compare(draw(57, seed=1), draw(60, seed=2)) == "regression"


def test_a_drop_below_the_floor_passes_however_certain(compare: Callable[..., str]) -> None:
    assert compare(draw(59.8, seed=1, std=0.01), draw(60, seed=2, std=0.01)) == "same"


def test_a_significant_drop_within_one_standard_deviation_passes(
    compare: Callable[..., str],
) -> None:
    measured, reference = draw(59.2, seed=1, n=200, std=1.5), draw(60, seed=2, n=200, std=1.5)
    assert compare(measured, reference) == "same"


def test_a_suspicious_improvement_is_flagged_and_passes(
    make_cell: MakeCell, make_table: MakeTable
) -> None:
    new = make_table({"row": make_cell(draw(66, seed=1))})
    report = check([new], [make_table({"row": make_cell(draw(60, seed=2))})])
    assert report.ok
    assert [cell.verdict for cell in report.warnings] == ["better"]


def test_a_higher_loss_is_a_regression(
    compare: Callable[..., str], loss_column: MeasuredColumn
) -> None:
    high, low = draw(0.9, seed=1, std=0.01), draw(0.5, seed=2, std=0.01)
    assert compare(high, low, column=loss_column) == "regression"
    assert compare(low, high, column=loss_column) == "better"


def test_a_column_without_direction_only_warns(
    compare: Callable[..., str], std_column: MeasuredColumn
) -> None:
    low, high = draw(0.02, seed=1, std=0.001), draw(0.06, seed=2, std=0.001)
    assert compare(low, high, column=std_column) == "moved"


def test_values_without_spread_are_compared_by_the_floor(compare: Callable[..., str]) -> None:
    assert compare([10.0] * 5, [10.0] * 5) == "same"
    assert compare([9.9] * 5, [10.0] * 5) == "same"
    assert compare([9.0] * 5, [10.0] * 5) == "regression"


def test_a_constant_of_one_run_is_exact(compare: Callable[..., str], make_cell: MakeCell) -> None:
    def exact(value: float) -> Cell:
        return make_cell([value], constant=True)

    assert compare(exact(24.4), exact(24.4)) == "same"
    assert compare(exact(23.4), exact(24.4)) == "regression"


def test_one_seed_is_judged_by_the_references_spread(compare: Callable[..., str]) -> None:
    assert compare([59.8], draw(60, seed=2)) == "same"
    assert compare([50.0], draw(60, seed=2)) == "regression"


def test_one_seed_on_both_sides_is_undecided_beyond_the_floor(
    compare: Callable[..., str],
) -> None:
    assert compare([59.9], [60.0]) == "same"
    assert compare([50.0], [60.0]) == "undecided"


def test_a_missing_row_fails(make_cell: MakeCell, make_table: MakeTable) -> None:
    full = make_table({"a": make_cell([60.0] * 5), "b": make_cell([50.0] * 5)})
    report = check([dataclasses.replace(full, rows=full.rows[:1])], [full])
    assert report.exit_code == 1
    assert [(cell.row, cell.verdict) for cell in report.failures] == [("b", "missing")]


def test_a_missing_table_fails(stop_grad: MeasuredTable, awkward: MeasuredTable) -> None:
    report = check([stop_grad], [stop_grad, awkward])
    assert not report.ok
    assert {cell.table for cell in report.failures} == {"awkward"}


@pytest.mark.parametrize("state", ["missing", "failed"])
def test_a_cell_that_was_not_finished_fails(compare: Callable[..., str], state: Any) -> None:
    assert compare(Cell(state=state), [60.0] * 5) == "missing"


def test_a_seed_that_newly_diverges_is_a_regression(compare: Callable[..., str]) -> None:
    assert compare([60.0, None, 60.0], [60.0] * 3) == "regression"
    assert compare(Cell(state="diverged", seeds=((0, None),)), [60.0] * 3) == "regression"


def test_a_cell_that_always_diverged_is_not_compared(compare: Callable[..., str]) -> None:
    gone = Cell(state="diverged", seeds=((0, None), (1, None)))
    assert compare(gone, gone) == "skipped"
    assert compare([60.0, 60.0], gone) == "better"


def test_published_only_cells_are_not_compared(published_only: MeasuredTable) -> None:
    report = check([published_only], [published_only])
    assert report.ok
    assert {cell.verdict for cell in report.cells} == {"skipped"}


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("numerics", NUMERICS - 1, "older than this version's"),
        ("numerics", NUMERICS + 1, "numerics version"),
        ("fingerprint", "other", "fingerprint"),
        ("num_test", 17, "test images"),
        ("overrides", {"epochs": 1}, "--set"),
    ],
)
def test_tables_measured_otherwise_are_refused(
    stop_grad: MeasuredTable, field: str, value: Any, word: str
) -> None:
    changed = dataclasses.replace(stop_grad, **{field: value})
    with pytest.raises(UserError, match=word):
        check([changed], [stop_grad])
    with pytest.raises(UserError, match=word):
        check([stop_grad], [changed])


def test_a_table_read_from_its_file_is_comparable(stop_grad: MeasuredTable, tmp_path: Path) -> None:
    fresh = dataclasses.replace(stop_grad, overrides={"projector.hidden": (64,)})
    fresh.save(tmp_path / "table.json")
    read = MeasuredTable.load(tmp_path / "table.json")
    assert check([fresh], [read]).ok


def test_scores_on_other_data_are_refused(stop_grad: MeasuredTable) -> None:
    first, *rest = stop_grad.columns
    on = ScoredOn(dataset="cifar100", fingerprint="a", num_test=9, chance=1.0)
    changed = [
        dataclasses.replace(stop_grad, columns=(dataclasses.replace(first, on=other), *rest))
        for other in (on, dataclasses.replace(on, fingerprint="b"))
    ]
    with pytest.raises(UserError, match="the data of column"):
        check([changed[0]], [changed[1]])
    with pytest.raises(UserError, match="the data of column"):
        check([changed[0]], [stop_grad])


def test_another_protocol_definition_is_refused(stop_grad: MeasuredTable) -> None:
    first, *others = stop_grad.columns
    column = dataclasses.replace(first, definition="another")
    with pytest.raises(UserError, match="protocol of column top1"):
        check([dataclasses.replace(stop_grad, columns=(column, *others))], [stop_grad])


def test_nothing_to_check_against_is_refused(stop_grad: MeasuredTable) -> None:
    with pytest.raises(UserError, match="no reference"):
        check([stop_grad], [])


def claim(outcome: Any) -> ClaimResult:
    return ClaimResult(id="c", says="a beats b", published="held", ours=outcome)


def test_a_claim_that_flips_without_a_regression_is_shown_and_passes(
    stop_grad: MeasuredTable,
) -> None:
    old = dataclasses.replace(stop_grad, claims=(claim("held"),))
    report = check([dataclasses.replace(stop_grad, claims=(claim("not held"),))], [old])
    assert report.ok
    assert [(f.before, f.after, f.failure) for f in report.flips] == [("held", "not held", False)]


def test_a_claim_that_flips_with_a_regression_fails(
    make_cell: MakeCell, make_table: MakeTable
) -> None:
    old = make_table({"row": make_cell(draw(60, seed=1))}, claims=(claim("held"),))
    new = make_table({"row": make_cell(draw(40, seed=2))}, claims=(claim("not held"),))
    assert check([new], [old]).flips[0].failure


def test_report_is_json_and_prints(make_cell: MakeCell, make_table: MakeTable) -> None:
    old = make_table({"row": make_cell(draw(60, seed=1))})
    report = check([make_table({"row": make_cell(draw(50, seed=2))})], [old])
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["exit_code"] == 1
    out = io.StringIO()
    show_check(report, console=Console(file=out, width=200))
    assert "✗ gate, row, top1: regression: 60." in out.getvalue()
    assert "Failed: 1 cells compared, 1 failed" in out.getvalue()


def test_training_time_is_a_fact_of_the_machine_and_not_compared(timed: MeasuredTable) -> None:
    slower = [
        dataclasses.replace(
            row, cells={**row.cells, "minutes": Cell(state="measured", seeds=((0, 99.0),) * 5)}
        )
        for row in timed.rows
    ]
    report = check([dataclasses.replace(timed, rows=tuple(slower))], [timed])
    assert report.ok and not any(cell.column == "minutes" for cell in report.cells)


def test_nor_is_the_time_of_a_step(timed: MeasuredTable) -> None:
    columns = tuple(
        dataclasses.replace(c, metric="run:step_ms") if c.key == "minutes" else c
        for c in timed.columns
    )
    stepped = dataclasses.replace(timed, columns=columns)
    report = check([stepped], [stepped])
    assert report.cells and not any(cell.column == "minutes" for cell in report.cells)
