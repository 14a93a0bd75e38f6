"""A study is a function of its definition: who runs it, how often and how wide changes nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.trainer import Trainer
from sslbench.errors import RunFailed, UserError
from sslbench.evaluation import heldout
from sslbench.methods import StepOutput
from sslbench.tables import worker
from sslbench.tuning.record import Record, load_record
from tests.killed import killed
from tests.tuning.small import DATA, FIXED, content, request


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    return request(folder).run("simclr")


def test_every_trial_is_kept_with_its_runs(record: Record, folder: Path) -> None:
    assert [t.number for t in record.trials] == list(range(5))
    assert record.trials[0].changes == {} == record.trials[0].point
    assert {t.state for t in record.trials} <= {"finished", "stopped"}
    for trial in record.trials:
        assert trial.rungs and all(0 <= v <= 100 for v in trial.rungs)
        status = "finished" if trial.state == "finished" else "interrupted"
        run = RunFolder(folder / "runs" / trial.run)
        assert run.status() == status
        assert run.checkpoint_path.exists() is False
        assert run.summary()["epochs"] == 4
        recipe = run.experiment().recipe
        assert recipe.but(trial.changes) == recipe


def test_a_stopped_trial_ended_at_its_rung_below_the_median(record: Record, folder: Path) -> None:
    stopped = [t for t in record.trials if t.state == "stopped"]
    assert stopped and record.rungs == (1, 2)
    for trial in stopped:
        rung = record.rungs[len(trial.rungs) - 1]
        run = RunFolder(folder / "runs" / trial.run)
        steps = 192 // run.experiment().recipe.batch_size
        assert run.summary()["steps"] == rung * steps
        reached = [t.rungs[len(trial.rungs) - 1] for t in record.trials
                   if len(t.rungs) >= len(trial.rungs)]  # fmt: skip
        assert trial.rungs[-1] < sorted(reached)[len(reached) // 2]


def test_the_winner_has_the_best_mean_of_the_confirming_seeds(record: Record) -> None:
    confirmed = record.confirmed()
    assert 0 in {t.number for t in confirmed} and len(confirmed) <= 4
    assert confirmed[0].number == record.winner
    assert record.changes == record.trials[record.winner].changes
    assert all([s.seed for s in t.seeds] == [0, 1] for t in confirmed)
    assert record.gain is not None and record.gain.seeds == (1,)
    if record.winner:
        means = [record.trials[n].seeds[1].linear for n in (record.winner, 0)]
        assert record.gain.points == pytest.approx(means[0] - means[1], abs=1e-3)


def test_the_record_is_read_as_it_was_written_and_nothing_is_run_again(
    record: Record, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "step", None)
    path = request(folder).path("simclr")
    assert path == folder / "results/tuning/smoke/shapes/simclr.json"
    before = path.read_text()
    assert load_record(path) == request(folder).run("simclr") == record
    assert path.read_text() == before


def test_without_its_record_it_is_found_in_the_run_folders(
    record: Record, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "step", None)
    again = request(folder, results=tmp_path).run("simclr")
    assert again == record


def test_over_two_workers_it_is_the_same(tmp_path: Path) -> None:
    few = {"trials": 3, "seeds": 1, "fixed": {**FIXED, "epochs": 2}}
    alone, shared = (
        request(tmp_path / str(jobs), jobs=jobs, **few).run("simclr") for jobs in (1, 2)
    )
    assert content(alone) == content(shared)


def test_killed_inside_a_batch_it_goes_on_to_the_same_study(record: Record, tmp_path: Path) -> None:
    step, count = Trainer.step, itertools.count(1)

    def killing(self: Trainer) -> StepOutput:
        if next(count) == 27:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self)

    def study() -> None:
        Trainer.step = killing  # type: ignore[method-assign]
        request(tmp_path).run("simclr")

    assert killed(study)
    assert 0 < len(list((tmp_path / "runs").glob("simclr-*"))) < 5
    assert content(request(tmp_path).run("simclr")) == content(record)


def test_the_test_images_are_never_read(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(DATA, root=tmp_path)
    noise = torch.randint(0, 256, dataset.test.images.shape, dtype=torch.uint8)
    poisoned = replace(
        dataset, test=replace(dataset.test, images=noise, labels=dataset.test.labels.flip(0))
    )
    monkeypatch.setattr(worker, "_dataset", lambda data, root: poisoned)
    assert content(request(tmp_path).run("simclr")) == content(record)
    assert not list((tmp_path / "runs").glob("*/scores/*"))


def test_a_score_that_is_there_is_not_measured_again(
    record: Record, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "encode", None)
    runs = folder / "runs"
    best = record.trials[record.winner]
    run, data = RunFolder(runs / best.run), load(DATA, root=tmp_path)
    score = heldout.heldout_score(run, data, root=tmp_path)
    assert score.linear == best.seeds[0].linear


def test_another_budget_or_space_is_refused_with_what_differs(
    record: Record, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"another study .* \(trials 5, now 6.*move it away"):
        request(folder, trials=6).run("simclr")
    with pytest.raises(UserError, match=r"holds a study .* its sampler .*seed 0, now 1.*move the"):
        request(folder, seed=1, results=tmp_path).run("simclr")
    fixed = {**FIXED, "objective.temperature": 0.3}
    with pytest.raises(UserError, match=r"its recipe is another, its space is another"):
        request(folder, fixed=fixed, results=tmp_path).run("simclr")


def test_a_study_that_another_process_runs_is_left_alone(folder: Path, tmp_path: Path) -> None:
    study = RunFolder(folder / "runs/studies/smoke-shapes-simclr")
    with study.lock(), pytest.raises(UserError, match=r"is run by process \d+; wait for it"):
        request(folder, results=tmp_path).run("simclr")


def test_a_damaged_note_of_what_is_run_is_refused(folder: Path, tmp_path: Path) -> None:
    note = tmp_path / "runs/studies/smoke-shapes-simclr/study.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"holds a study of simclr that is not this one"):
        request(tmp_path).run("simclr")


def test_every_trial_diverged(tmp_path: Path) -> None:
    optimizer = {"kind": "SGD", "lr": 1e30, "momentum": 0.0, "weight_decay": 0.0}
    fixed = {**FIXED, "epochs": 2, "optimizer": optimizer}
    with pytest.raises(RunFailed, match=r"Every trial of the study of simclr diverged"):
        request(tmp_path, fixed=fixed, trials=2).run("simclr")
    assert not (tmp_path / "results").exists()


def test_without_optuna_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'sslbench\[tune\]'"):
        request(tmp_path).run("simclr")
