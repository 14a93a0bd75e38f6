"""Rows that start from a run: it is planned, and trained once, before them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.tables.cells import Place, Request, cells
from sslbench.tables.grid import Event, PlannedRun, plan, run
from sslbench.tables.jobs import Job, Tell
from sslbench.tables.schema import Table, load_table, parse_table
from tests.tables.fakes import finish, use
from tests.tiny import DATA

Places = dict[str, Path]
ENCODER = {"kind": "NarrowResNet", "width": 4, "blocks": [1, 1], "stem_stride": 2}
BEGUN = {"start": "simclr", "start.objective.temperature": 2.5}
TABLE: dict[str, Any] = {
    "id": "begun",
    "title": "Fine-tuned",
    "source": "a test",
    "base": "simclr",
    "columns": [{"key": "top1", "name": "top-1", "metric": "linear.features.v1:top1"}],
    "rows": [
        {"id": "warm", "label": "temperature 0.1", "set": BEGUN},
        {"id": "hot", "label": "temperature 1", "set": {**BEGUN, "objective.temperature": 1.0}},
        {"id": "start", "label": "the start", "set": {"objective.temperature": 2.5}},
    ],
}


@pytest.fixture
def begun() -> Table:
    return parse_table(TABLE, where="test")


def order(runs: tuple[PlannedRun, ...]) -> list[str]:
    return [r.places[0].row if r.places else r.label for r in runs]


def test_a_start_is_planned_once_and_before_the_rows_that_need_it(
    begun: Table, places: Places
) -> None:
    found = plan([begun], scale="smoke", seeds=2, **places)
    assert len(found.runs) == 3 * 2 + 2 + 1
    assert order(found.runs)[:4] == ["start", "warm", "start", "warm"]
    for seed in (0, 1):
        start, warm = (found.by_place[Place("begun", r, "top1", seed)] for r in ("start", "warm"))
        assert warm.experiment.start == start.experiment
        assert found.runs.index(start) < found.runs.index(warm)


def test_a_start_that_is_no_row_is_planned_too(begun: Table, places: Places) -> None:
    dense = replace(begun, monitor_points=7)
    found = plan([dense], scale="smoke", seeds=1, rows=["warm"], **places)
    assert {item.monitor_points for item in found.runs} == {7}
    assert order(found.runs) == ["start of others, seed 0", "warm", "untrained", "raw-pixels"]
    assert found.runs[0].provenance["objective.temperature"] == "row warm"
    assert found.seconds > found.runs[1].seconds


def test_changes_of_a_grid_reach_what_its_rows_start_from(begun: Table) -> None:
    def experiments(**overrides: Any) -> dict[str, Any]:
        request = Request("smoke", (0,), overrides=overrides)
        return {place.row: made.experiment for place, made in cells(begun, request=request)}

    found = experiments(**{"encoder.width": 4, "epochs": 3})
    assert found["warm"].start == found["start"]
    assert (found["start"].recipe.epochs, found["start"].recipe.encoder.width) == (3, 4)
    apart = experiments(**{"epochs": 3, "start.epochs": 5})
    assert (apart["warm"].recipe.epochs, apart["warm"].start.recipe.epochs) == (3, 5)


def test_the_rows_get_the_start_before_them(
    begun: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def execute(job: Job, tell: Tell) -> None:
        done.append(job.name)
        finish(job, top1=50.0)

    use(monkeypatch, execute)
    planned = plan([begun], scale="smoke", seeds=2, **places)
    finished = run(planned, root=places["root"])
    assert (finished.trained, finished.failed) == (9, {})
    names = {p: r.folder.path.name for p, r in planned.by_place.items()}
    for seed in (0, 1):
        start, *later = (
            names[Place("begun", row, "top1", seed)] for row in ("start", "warm", "hot")
        )
        assert all(done.index(start) < done.index(name) for name in later)


def test_rows_whose_start_failed_fail_with_a_sentence_and_the_rest_goes_on(
    begun: Table, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        if job.experiment.start is not None:
            raise UserError(f"{job.name} starts from a run which diverged.")
        finish(job, top1=50.0)

    use(monkeypatch, execute)
    planned = plan([begun], scale="smoke", seeds=1, **places)
    finished = run(planned, root=places["root"])
    assert finished.trained == 3 and len(finished.failed) == 2
    assert all("which diverged" in text for text in finished.failed.values())


@pytest.mark.slow
def test_two_workers_train_a_start_once(begun: Table, tmp_path: Path) -> None:
    small = {"encoder": ENCODER, "batch_size": 16, "epochs": 2, "projector.hidden": [16]}
    where = {"runs": tmp_path / "runs", "root": tmp_path}
    # Without the row of the start, both workers come to it by the rows that need it.
    rows = ["warm", "hot"]
    planned = plan([begun], scale="smoke", seeds=1, rows=rows, data=DATA, overrides=small, **where)
    needing = replace(planned, runs=tuple(r for r in planned.runs if r.experiment.start))
    events: list[Event] = []
    finished = run(needing, root=tmp_path, jobs=2, device="cpu", threads=1, on_event=events.append)
    assert (finished.trained, finished.failed) == (2, {})
    folders = {path.name for path in where["runs"].iterdir()}
    assert len(folders) == 3  # one start
    trained = [e for e in events if e.kind == "progress" and e.step == e.steps]
    assert len(trained) == 3  # each run came to its end once


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"start": "simclrr"}, "Table begun, row warm: .*No recipe 'simclrr'; did you mean"),
        ({"start": "dino"}, "row warm: .*encoder.kind is NarrowResNet here and ViT in start"),
        ({"start": "raw-pixels"}, "encoder.kind is NarrowResNet here and RawPixels in start"),
        ({"start": 3}, "start: needs a mapping, got 3"),
        ({"start.epochs": 3}, "'start' is absent"),
        ({"start": "simclr", "start.epoch": 3}, "no such field 'epoch'.*did you mean 'epochs'"),
    ],
)
def test_a_row_that_cannot_start_is_refused(changes: dict[str, Any], sentence: str) -> None:
    table = parse_table(
        {**TABLE, "rows": [{"id": "warm", "label": "w", "set": changes}]}, where="test"
    )
    with pytest.raises(UserError, match=sentence):
        list(cells(table, request=Request("smoke", (0,))))


@pytest.mark.parametrize("scale", ["smoke", "laptop", "cifar", "paper"])
def test_the_trajectories_start_from_the_row_that_says_so(scale: str) -> None:
    table = load_table("align-uniform-trajectories")
    found = {p.row: m.experiment for p, m in cells(table, request=Request(scale, (0,)))}
    later = ("align-only", "uniform-only", "both", "trained-on")
    assert all(found[row].start == found["start"] for row in later)
    assert found["trained-on"].recipe.but(start=None) == found["start"].recipe
    shared = load_table("align-uniform-encoders")
    encoders = {p.row: m.experiment for p, m in cells(shared, request=Request(scale, (0,)))}
    assert encoders["contrastive-2.5"] == found["start"]
