from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from sslbench.engine.folder import NUMERICS
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import ImageSet
from sslbench.tables.grid import plan, run
from sslbench.tables.jobs import Job, Tell
from sslbench.tables.measure import measure
from sslbench.tables.results import Cell, MeasuredTable, half_width, result_path
from sslbench.tables.schema import Table, parse_table
from tests.tables.fakes import TABLE, accuracy, finish, use

Places = dict[str, Path]


def measured(table: Table, places: Places, seeds: int = 3, **more: Any) -> MeasuredTable:
    run(plan([table], scale="smoke", seeds=seeds, **places), root=places["root"])
    return measure(table, scale="smoke", seeds=seeds, **places, **more)


def test_a_cell_has_every_seed_its_mean_and_its_interval(
    table: Table, places: Places, fake: list[str]
) -> None:
    cell = measured(table, places).cell("baseline", "top1")
    assert cell.state == "measured" and cell.seeds == ((0, 60.0), (1, 60.1), (2, 60.2))
    assert cell.mean == pytest.approx(60.1)
    assert cell.interval == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)
    assert cell.difference == pytest.approx(60.1 - 72.5)
    assert len(cell.runs) == 3


def test_run_metrics_and_published_only_cells(
    table: Table, places: Places, fake: list[str]
) -> None:
    result = measured(table, places)
    assert result.cell("copy", "std").mean == pytest.approx(0.25 * 4)  # times sqrt(16)
    assert result.cell("baseline", "ap").state == "published-only"
    assert result.cell("baseline", "ap").published == 55.0
    assert result.cell("paper-only", "top1") == Cell(state="published-only", published=71.8)


def test_dips_are_read_from_the_log_and_too_few_points_are_noted(
    places: Places, monkeypatch
) -> None:
    curve = {0: [10.0, 20.0, 15.0, 18.0, 17.0], 1: [10.0, 20.0, 30.0]}
    asked: set[int | None] = set()

    def execute(job: Job, tell: Tell) -> None:
        asked.add(job.options["monitor_points"])
        finish(job, top1=accuracy(job), steps=4 if job.experiment.recipe.epochs else 0)
        if job.experiment.recipe.epochs:
            log = enumerate(curve[job.experiment.seed], start=1)
            lines = [json.dumps({"step": step, "knn": value}) for step, value in log]
            (job.path / "metrics.jsonl").write_text("\n".join(lines))

    use(monkeypatch, execute)
    dips = {"key": "dips", "name": "dips", "unit": "points", "metric": "run:knn_dips"}
    columns = [*TABLE["columns"], dips]
    table = parse_table({**TABLE, "columns": columns, "monitor_points": 4}, where="dips")
    result = measured(table, places, seeds=2)
    assert asked == {4}
    assert result.cell("baseline", "dips").values == (6.0, 0.0)
    notes = [note for note in result.notes if "kNN curve" in note]
    assert len(notes) == 1 and notes[0].startswith("3 of 9 finished runs have fewer points")
    usual = parse_table({**TABLE, "columns": columns}, where="usual")
    assert not any("kNN curve" in note for note in measured(usual, places, seeds=2).notes)


def test_untrained_encoder_and_raw_pixels_stand_beside_the_rows(
    table: Table, places: Places, fake: list[str]
) -> None:
    result = measured(table, places)
    assert [row.id for row in result.baselines] == ["untrained", "raw-pixels"]
    assert all(row.baseline and set(row.cells) == {"top1"} for row in result.baselines)
    pixels = result.cell("raw-pixels", "top1")
    assert pixels.constant and pixels.n == 1 and pixels.interval == 0.0


def test_claims_and_rank_agreement(table: Table, places: Places, fake: list[str]) -> None:
    result = measured(table, places)
    outcomes = {claim.id: (claim.published, claim.ours) for claim in result.claims}
    assert outcomes == {"order": ("held", "held"), "learns": ("held", "held")}
    assert result.rank_agreement == {"top1": 1.0}


def test_one_seed_leaves_claims_undecided(table: Table, places: Places, fake: list[str]) -> None:
    result = measured(table, places, seeds=1)
    assert {claim.ours for claim in result.claims} == {"undecided"}


def test_what_has_not_been_run_is_missing_and_its_claims_not_measured(
    table: Table, places: Places
) -> None:
    result = measure(table, scale="smoke", seeds=2, **places)
    assert result.cell("fast", "top1").state == "missing"
    assert {claim.ours for claim in result.claims} == {"not measured"}
    assert not result.complete


def test_a_half_measured_cell_says_so(table: Table, places: Places, fake: list[str]) -> None:
    run(plan([table], scale="smoke", seeds=2, **places), root=places["root"])
    cell = measure(table, scale="smoke", seeds=3, **places).cell("fast", "top1")
    assert cell.state == "measured" and cell.n == 2
    assert cell.note == "1 of 3 seeds not run"


def test_diverged_and_failed_rows_are_marked_not_dropped(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        if accuracy(job) == 11.0:
            finish(job, top1=0, status="failed", verdict={"state": "diverged", "cause": "lr"})
            raise UserError("The loss is not finite.")
        if accuracy(job) == 50.0:
            raise UserError("Out of memory.")
        finish(job, top1=accuracy(job))

    use(monkeypatch, execute)
    result = measured(table, places, seeds=2)
    diverged = result.cell("copy", "top1")
    assert diverged.state == "diverged" and diverged.seeds == ((0, None), (1, None))
    assert diverged.mean is None and diverged.published == 0.3
    failed = result.cell("fast", "top1")
    assert failed.state == "failed" and failed.note == "2 failed: Out of memory."
    assert {row.id: row.verdicts for row in result.rows}["copy"] == {"diverged": 2}


def test_changes_are_shown_as_they_were_run(table: Table, places: Places, fake: list[str]) -> None:
    rows = {row.id: row for row in measured(table, places).rows}
    assert rows["fast"].changes == {"target.momentum": 0.3}  # published 0.9
    assert rows["copy"].changes["target"] == {"kind": "Shared", "stop_gradient": True}


def test_a_row_that_is_another_rows_run_says_so(places: Places, fake: list[str]) -> None:
    twin = {"id": "twin", "label": "twin", "set": {"views.*.blur": None}}
    table = parse_table({**TABLE, "rows": [*TABLE["rows"], twin]}, where="test")
    rows = {row.id: row for row in measured(table, places).rows}
    assert rows["twin"].note == "the same run as 'baseline' at this scale"
    assert rows["fast"].note == ""


def test_the_table_says_where_it_was_measured(
    table: Table, places: Places, fake: list[str]
) -> None:
    result = measured(table, places)
    assert (result.device_class, result.commit, result.dataset) == ("cpu", "abc", "shapes")
    assert result.numerics == NUMERICS and not result.stale and result.complete
    assert result.chance == 10.0 and result.num_test == 32
    runs = 3 * 3 + 3 + 1  # 8 s of training each, and 4 s of scoring under the shown protocol
    assert result.minutes == pytest.approx(runs * (8 + 4) / 60)
    assert result.columns[0].definition == PROTOCOLS["linear.features.v1"].definition
    assert result_path(Path("r"), result) == Path("r/smoke/cpu/small.json")


def test_older_numerics_show_as_stale(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        finish(job, top1=accuracy(job), numerics=NUMERICS - (job.experiment.seed == 0))

    use(monkeypatch, execute)
    assert measured(table, places).stale


def test_a_score_of_another_definition_is_measured_again(
    table: Table, places: Places, fake: list[str]
) -> None:
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    path = next(places["runs"].glob("byol-*/scores/shapes.linear.features.v1.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "definition": "other"}))
    result = measure(table, scale="smoke", seeds=1, **places)
    assert sorted(row.cells["top1"].state for row in result.rows) == [
        "measured", "measured", "missing", "published-only",
    ]  # fmt: skip
    assert len(plan([table], scale="smoke", seeds=1, **places).todo) == 1


def test_a_column_can_be_shown_against_its_best_row(places: Places, fake: list[str]) -> None:
    column = {**TABLE["columns"][0], "derive": "minus_best"}
    table = parse_table({**TABLE, "columns": [column, *TABLE["columns"][1:]]}, where="test")
    result = measured(table, places)
    assert result.cell("baseline", "top1").mean == pytest.approx(0.0)
    assert result.cell("copy", "top1").mean == pytest.approx(-49.0)


def test_a_column_can_average_the_others(places: Places, fake: list[str]) -> None:
    columns = [
        TABLE["columns"][0],
        {"key": "knn", "name": "kNN", "metric": "knn.v1:top1"},
        {"key": "five", "name": "top-5", "metric": "knn.v1:top5"},
        {"key": "ap", "name": "average", "derive": "row_mean"},
    ]
    table = parse_table({**TABLE, "columns": columns}, where="test")
    cell = measured(table, places).cell("baseline", "ap")
    assert cell.values == pytest.approx([(60.0 + 0.1 * s) * 2 / 3 + 33.0 for s in range(3)])
    assert cell.published == 55.0


def test_a_column_can_be_the_difference_of_two(places: Places, fake: list[str]) -> None:
    columns = [
        TABLE["columns"][0],
        {"key": "five", "name": "top-5", "metric": "knn.v1:top5"},
        {"key": "ap", "name": "gain", "derive": "difference", "of": ["five", "top1"]},
    ]
    table = parse_table({**TABLE, "columns": columns}, where="test")
    result = measured(table, places)
    cell = result.cell("baseline", "ap")
    assert cell.values == pytest.approx([99.0 - (60.0 + 0.1 * s) for s in range(3)])
    assert cell.published == 55.0
    assert result.cell("paper-only", "ap").state == "published-only"
    assert result.complete


def test_a_claim_about_one_data_set_is_judged_there_only(places: Places, fake: list[str]) -> None:
    rows = [{"id": f"{name}{dataset}", "label": name, "dataset": dataset, "paper": {"top1": 50.0}}
            for name in ("a-", "b-") for dataset in ("shapes", "svhn")]  # fmt: skip
    same = {"within": ["a-svhn", "b-svhn"], "tolerance": 5}
    claims = [{"id": "any", "says": "...", "holds": same},
              {"id": "svhn", "says": "...", "holds": same, "dataset": "svhn"}]  # fmt: skip
    table = parse_table({**TABLE, "rows": rows, "claims": claims}, where="test")
    outcomes = {c.id: (c.published, c.ours, c.detail) for c in measured(table, places).claims}
    assert outcomes["any"][:2] == ("held", "held")
    assert outcomes["svhn"] == ("held", "not measured", "it is about svhn")


def test_json_keeps_everything(
    table: Table, places: Places, fake: list[str], tmp_path: Path
) -> None:
    result = measured(table, places)
    path = tmp_path / "out" / "small.json"
    result.save(path)
    assert MeasuredTable.load(path) == result
    plain = json.loads(path.read_text())
    assert plain["rows"][0]["cells"]["top1"]["seeds"] == [[0, 60.0], [1, 60.1], [2, 60.2]]


@pytest.mark.parametrize("text", ["", "[]", '{"id": "small"}'])
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "small.json"
    path.write_text(text)
    with pytest.raises(UserError):
        MeasuredTable.load(path)


def test_an_interval_needs_two_seeds() -> None:
    assert half_width(()) is None and half_width((3.0,)) is None
    assert dataclasses.replace(Cell(state="measured"), seeds=((0, 3.0),)).interval is None


SETS = {
    **TABLE,
    "rows": [
        {"id": "fast-cifar10", "label": "fast, CIFAR-10", "dataset": "cifar10",
         "set": {"target.momentum": 0.9}, "paper": {"top1": 68.4}},
        {"id": "copy-cifar10", "label": "copy, CIFAR-10", "dataset": "cifar10",
         "set": {"target": {"kind": "Shared", "stop_gradient": True}}, "paper": {"top1": 0.3}},
        {"id": "fast-svhn", "label": "fast, SVHN", "dataset": "svhn",
         "set": {"target.momentum": 0.9}, "paper": {"top1": 58.0}},
        {"id": "copy-svhn", "label": "copy, SVHN", "dataset": "svhn",
         "set": {"target": {"kind": "Shared", "stop_gradient": True}}, "paper": {"top1": 0.2}},
    ],
    "claims": [
        {"id": "order", "says": "...", "holds": {"order": ["fast-cifar10", "copy-cifar10"]}}
    ],
}  # fmt: skip


def test_the_scales_own_set_stands_in_for_the_tables_first(places: Places, fake: list[str]) -> None:
    result = measured(parse_table(SETS, where="test"), places)
    assert result.cell("fast-cifar10", "top1").n == 3
    assert result.cell("fast-svhn", "top1") == Cell(state="published-only", published=58.0)
    assert {row.id: row.note for row in result.rows}["copy-svhn"] == "its values are of svhn"
    assert result.notes[-1].startswith("Measured on shapes, which stands in for cifar10")
    assert result.claims[0].detail.startswith("fast-cifar10")


def test_rows_of_the_set_trained_on_are_run_and_its_claims_move_with_them(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        finish(job, top1=accuracy(job))

    use(monkeypatch, execute)
    monkeypatch.setattr("tests.tables.fakes.DATASET", "svhn")
    table, data = parse_table(SETS, where="test"), ImageSet(name="svhn", resolution=32)
    run(plan([table], scale="smoke", seeds=3, data=data, **places), root=places["root"])
    result = measure(table, scale="smoke", seeds=3, data=data, **places)
    assert result.cell("fast-svhn", "top1").n == 3
    assert result.cell("fast-cifar10", "top1").state == "published-only"
    assert not any("stands in" in note for note in result.notes)
    assert (result.claims[0].ours, result.claims[0].published) == ("held", "held")
    assert result.claims[0].detail.startswith("fast-svhn")


def test_a_row_of_another_set_is_refused_with_what_to_do(places: Places) -> None:
    table = parse_table(SETS, where="test")
    with pytest.raises(UserError, match="are of svhn; measure it with --dataset svhn"):
        plan([table], scale="smoke", seeds=1, rows=["fast-svhn"], **places)


def test_values_of_another_protocol_stand_beside_and_are_not_subtracted(
    places: Places, fake: list[str], tmp_path: Path
) -> None:
    rows = [*TABLE["rows"], {"id": "third", "label": "third", "set": {"target.momentum": 0.99},
                             "paper": {"top1": 60.0}}]  # fmt: skip
    columns = [{**TABLE["columns"][0], "protocol": "online probe"}, *TABLE["columns"][1:]]
    plain = measured(parse_table({**TABLE, "rows": rows}, where="test"), places)
    assert set(plain.rank_agreement) == {"top1"}
    result = measured(parse_table({**TABLE, "rows": rows, "columns": columns}, where="t"), places)
    cell = result.cell("baseline", "top1")
    assert cell.published == 72.5 and cell.n == 3 and not cell.comparable
    assert cell.difference is None and result.rank_agreement == {}
    assert result.columns[0].protocol == "online probe"
    result.save(tmp_path / "table.json")
    assert MeasuredTable.load(tmp_path / "table.json") == result


def test_a_column_can_turn_the_sign_and_tell_the_time(places: Places, fake: list[str]) -> None:
    columns = [
        {"key": "top1", "name": "error", "metric": "linear.features.v1:top1", "negative": True},
        {"key": "std", "name": "minutes", "unit": "min", "metric": "run:minutes"},
        {"key": "ap", "name": "detection", "unit": "AP"},
    ]
    result = measured(parse_table({**TABLE, "columns": columns}, where="test"), places)
    assert result.cell("baseline", "top1").values == (-60.0, -60.1, -60.2)
    assert result.cell("baseline", "std").mean == pytest.approx(8 / 60)


def test_what_runs_cost_is_a_column_and_old_runs_do_not_say_it(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        known = {"gflops": 0.25, "step_ms": 3.0 + job.experiment.seed}
        old = job.experiment.recipe.name != "byol" or job.experiment.seed == 2
        finish(job, top1=50.0, **({} if old else {"cost": known}))

    use(monkeypatch, execute)
    columns = [
        {"key": "top1", "name": "GFLOPs", "metric": "run:gflops"},
        {"key": "ap", "name": "step", "metric": "run:step_ms"},
    ]
    shown = {**TABLE, "columns": columns, "claims": [], "rows": TABLE["rows"][:2]}
    result = measured(parse_table(shown, where="cost"), places)
    cell = result.cell("baseline", "top1")
    assert (cell.values, cell.note) == ((0.25, 0.25), "1 of 3 runs do not say it")
    assert result.cell("baseline", "ap").values == (3.0, 4.0)
    assert [(c.unit, c.better) for c in result.columns] == [("GFLOPs", "lower"), ("ms", "lower")]
