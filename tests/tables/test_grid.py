from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from sslbench.errors import Interrupted, UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import ImageSet
from sslbench.tables.cells import Place
from sslbench.tables.grid import Event, plan, run
from sslbench.tables.jobs import Job, Scoring, Tell
from sslbench.tables.pace import GUESSED_SECONDS
from sslbench.tables.schema import Table, load_table, parse_table
from tests.tables.fakes import TABLE, accuracy, finish, use

Places = dict[str, Path]
RUNS_OF_SMALL = 3 * 2 + 2 + 1  # three rows and the untrained encoder twice, raw pixels once


def test_a_dry_plan_lists_the_runs_and_makes_nothing(table: Table, places: Places) -> None:
    found = plan([table], scale="smoke", seeds=2, **places)
    assert len(found.runs) == len(found.todo) == RUNS_OF_SMALL
    assert found.seconds > 0
    assert not places["runs"].exists()


def test_cells_and_tables_share_runs(table: Table, places: Places) -> None:
    again = dataclasses.replace(table, id="again")
    both = plan([table, again], scale="smoke", seeds=2, **places)
    assert len(both.runs) == RUNS_OF_SMALL
    shared = both.by_place[Place("small", "fast", "top1", 1)]
    assert shared is both.by_place[Place("again", "fast", "std", 1)]
    assert Counter(p.table for p in shared.places) == {"small": 2, "again": 2}
    assert "and 1 more" in shared.label


def test_of_two_tables_the_denser_kNN_curve_is_trained(table: Table, places: Places) -> None:
    dense = [dataclasses.replace(table, id=f"dense{n}", monitor_points=n) for n in (60, 30)]
    both = plan([table, *dense], scale="smoke", seeds=1, **places)
    assert {run.monitor_points for run in both.runs} == {60}
    assert [r.folder.path for r in both.runs] == [
        r.folder.path for r in plan([table], scale="smoke", seeds=1, **places).runs
    ]


@pytest.mark.parametrize(("epochs", "points"), [(1, None), (12, 6), (100, 20)])
def test_a_run_has_a_monitor_point_in_two_epochs(
    table: Table, places: Places, epochs: int, points: int | None
) -> None:
    found = plan([table], scale="smoke", seeds=1, overrides={"epochs": epochs}, **places)
    trained = {r.monitor_points for r in found.runs if r.experiment.recipe.epochs}
    assert trained == {points}


def test_seeds_that_no_one_can_wait_for_are_refused(table: Table, places: Places) -> None:
    with pytest.raises(UserError, match="at most 1000 seeds"):
        plan([table], scale="smoke", seeds=10**20, **places)


def test_a_rows_seed_is_its_runs_seed(table: Table, places: Places) -> None:
    found = plan([table], scale="smoke", seeds=[3, 5], **places)
    seeds = {p.seed: run.experiment.seed for p, run in found.by_place.items()}
    assert seeds == {3: 3, 5: 5}


def test_kNN_and_linear_are_scored_whatever_the_columns_need(table: Table, places: Places) -> None:
    for item in plan([table], scale="smoke", seeds=1, **places).runs:
        assert item.scorings == tuple(Scoring(protocol=p) for p in ("knn.v1", "linear.features.v1"))


def test_only_the_rows_asked_for_and_the_baselines(table: Table, places: Places) -> None:
    found = plan([table], scale="smoke", seeds=1, rows=["copy"], **places)
    assert {p.row for p in found.by_place} == {"copy", "untrained", "raw-pixels"}


def test_only_the_columns_asked_for(table: Table, places: Places) -> None:
    cheap = plan([table], scale="smoke", seeds=1, columns=["std"], **places)
    assert {p.column for p in cheap.by_place} == {"std"}
    assert {p.column for p in plan([table], scale="smoke", seeds=1, **places).by_place} > {"std"}
    assert len(cheap.runs) < RUNS_OF_SMALL  # a baseline has a score or nothing
    assert all(item.experiment.recipe.epochs > 0 for item in cheap.runs)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"columns": ["sdt"]}, "No measured column 'sdt' in small; did you mean 'std'"),
        ({"rows": ["fats"]}, "No row 'fats' in small; did you mean 'fast'"),
        ({"scale": "laptp"}, "No scale 'laptp'; did you mean 'laptop'"),
        ({"overrides": {"epoch": 3}}, "epoch.*did you mean 'epochs'"),
        ({"overrides": {"epochs": "many"}}, "epochs: needs a whole number"),
        (
            {"data": ImageSet(name="flat", path=".", resolution=16)},
            "needs labels, which data set 'flat' lacks",
        ),
        ({"seeds": 0}, "at least one seed"),
        ({"seeds": [-1]}, "seeds are >= 0"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_a_sentence(
    table: Table, places: Places, more: dict[str, object], sentence: str
) -> None:
    arguments = {"scale": "smoke", "seeds": 1, **places, **more}
    with pytest.raises(UserError, match=sentence):
        plan([table], **arguments)  # type: ignore[arg-type]


def test_an_override_reaches_every_row_that_has_the_field(table: Table, places: Places) -> None:
    changes = {"epochs": 1, "target.momentum": 0.5}
    found = plan([table], scale="smoke", seeds=1, overrides=changes, **places)
    by_row = {p.row: run.experiment.recipe for p, run in found.by_place.items()}
    assert by_row["fast"].epochs == by_row["copy"].epochs == 1
    assert by_row["fast"].target.momentum == 0.5  # type: ignore[union-attr]
    assert by_row["untrained"].epochs == by_row["raw-pixels"].epochs == 0


def test_finished_runs_are_not_run_again(table: Table, places: Places, fake: list[str]) -> None:
    first = run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    assert first.trained == len(fake) == 5 and not first.failed
    more = plan([table], scale="smoke", seeds=2, **places)
    assert len(more.todo) == RUNS_OF_SMALL - 5
    run(more, root=places["root"])
    assert len(fake) == len(set(fake)) == RUNS_OF_SMALL
    assert not plan([table], scale="smoke", seeds=2, **places).todo


def test_a_run_without_all_its_scores_is_not_finished(
    table: Table, places: Places, fake: list[str]
) -> None:
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    next(places["runs"].glob("byol-*/scores/shapes.knn.v1.json")).unlink()
    (left,) = plan([table], scale="smoke", seeds=1, **places).todo
    assert left.missing == (Scoring(protocol="knn.v1"),) and left.status == "finished"


def test_the_estimate_follows_finished_runs(table: Table, places: Places, fake: list[str]) -> None:
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    left = plan([table], scale="smoke", seeds=2, **places).todo
    trained = next(item for item in left if item.experiment.recipe.name == "byol")
    assert trained.seconds == pytest.approx(8.0 + 2 * 4.0)  # the fake runs' time, and their scores'


def test_what_is_trained_from_scratch_is_counted_once_for_the_runs_that_share_it(
    places: Places,
) -> None:
    columns = [{"key": "tuned", "name": "fine-tuned", "metric": "finetune.v1:top1"}]
    tuned = parse_table(TABLE | {"columns": columns, "claims": [], "base": "simsiam", "rows": [
        {"id": rate, "label": rate, "set": {"optimizer.lr": float(rate)}, "paper": {}}
        for rate in ("0.1", "0.2")
    ]}, where="tuned")  # fmt: skip
    found = plan([tuned], scale="smoke", seeds=1, **places)
    first, second, *_ = (r for r in found.todo if r.experiment.recipe.name == "simsiam")
    fit, images = PROTOCOLS["finetune.v1"], first.experiment.data.num_train
    assert images is not None
    epochs = first.experiment.recipe.epochs
    scratch = fit.scratch_passes(images, pretraining=epochs) / epochs * GUESSED_SECONDS["smoke"]
    assert first.seconds - second.seconds == pytest.approx(scratch)


def test_an_interrupted_grid_keeps_what_is_finished_and_continues(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def stop_at_third(job: Job, tell: Tell) -> None:
        if len(done) == 2:
            raise Interrupted("stopped")
        done.append(job.name)
        finish(job, top1=accuracy(job))

    use(monkeypatch, stop_at_third)
    with pytest.raises(Interrupted):
        run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    left = plan([table], scale="smoke", seeds=1, **places).todo
    assert len(left) == 3 and not {item.folder.path.name for item in left} & set(done)


def test_a_failing_run_is_recorded_and_the_rest_goes_on(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_one(job: Job, tell: Tell) -> None:
        if accuracy(job) == 11.0:
            raise UserError("Out of memory.")
        if accuracy(job) == 50.0:
            raise ZeroDivisionError("a bug")
        finish(job, top1=accuracy(job))

    use(monkeypatch, fail_one)
    events: list[Event] = []
    planned = plan([table], scale="smoke", seeds=1, **places)
    result = run(planned, root=places["root"], on_event=events.append)
    assert result.trained == 3
    assert sorted(result.failed.values()) == [
        "Out of memory.",
        "Unexpected ZeroDivisionError: a bug",
    ]
    assert Counter(e.kind for e in events) == {"start": 5, "done": 3, "failed": 2}
    assert [e.number for e in events if e.kind == "start"] == [1, 2, 3, 4, 5]
    traces = [p.read_text() for p in places["runs"].glob("*/error.txt")]
    assert sum("Traceback" in text for text in traces) == 1


def test_a_diverged_run_is_not_tried_again(
    table: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(job: Job, tell: Tell) -> None:
        finish(job, top1=0, status="failed", verdict={"state": "diverged", "cause": "lr"})
        raise UserError("The loss is not finite.")

    use(monkeypatch, diverge)
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    assert not plan([table], scale="smoke", seeds=1, **places).todo


def test_jobs_must_be_positive(table: Table, places: Places) -> None:
    with pytest.raises(UserError, match="--jobs"):
        run(plan([table], scale="smoke", seeds=1, **places), root=places["root"], jobs=0)


def test_tables_of_one_paper_plan_together(places: Places) -> None:
    tables = [load_table(name) for name in ("simsiam-stop-grad", "simsiam-predictor")]
    together = plan(tables, scale="laptop", seeds=1, **places)
    apart = [plan([t], scale="laptop", seeds=1, **places) for t in tables]
    shared = 3  # the baseline, the untrained encoder, raw pixels
    assert len(together.runs) == sum(len(p.runs) for p in apart) - shared
