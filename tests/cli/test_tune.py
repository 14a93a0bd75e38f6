"""`tune` on the command line: what it prints, and what it refuses."""

from __future__ import annotations

import json
import sys

import pytest

from sslbench.errors import RunFailed
from sslbench.tuning.request import TuneRequest

QUICK = ["--scale", "smoke", "--trials", "2", "--seeds", "1", "--device", "cpu",
         "--set", "epochs=1", "--set", "data.num_train=160", "--set", "data.num_test=60",
         "--set", "data.resolution=16", "--set", "encoder.width=4"]  # fmt: skip


def test_a_dry_run_shows_space_budget_and_time(run) -> None:
    code, out, _ = run("tune", "simsiam", "--scale", "smoke", "--dry-run")
    assert code == 0
    assert "predictor.learning_rate_scale" in out and "objective.temperature" not in out
    assert "40 trials, looked at after epochs 2, 3 of 6; 3 seeds of the best 3" in " ".join(
        out.split()
    )
    code, out, _ = run("tune", "simsiam", "dcl", "--scale", "smoke", "--dry-run", "--json")
    simsiam, dcl = json.loads(out)
    assert code == 0 and simsiam["budget"]["trials"] == dcl["budget"]["trials"] == 40
    assert set(dcl["space"]) == {"rate", "temperature"} and simsiam["seconds"] > 0


def test_a_study_is_printed_and_kept(run, tmp_path) -> None:
    code, out, err = run("tune", "simclr", *QUICK)
    assert code == 0, err
    assert "Winner: trial" in out and "results/tuning/smoke/shapes/simclr.json" in out
    assert "simclr  trials 0 to 1: 2 to the end" in err
    code, out, err = run("tune", "simclr", *QUICK, "--json")
    [record] = json.loads(out)
    assert code == 0 and not err and len(record["trials"]) == 2
    kept = json.loads((tmp_path / "results/tuning/smoke/shapes/simclr.json").read_text())
    assert kept == record
    assert record["fixed"]["epochs"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["simsam"], "No recipe 'simsam'; did you mean 'simsiam'"),
        (["raw-pixels"], "raw-pixels has nothing to tune"),
        (["simclr", "untrained"], "untrained has nothing to tune"),
        (["simclr", "--trials", "0"], "--trials must be 1 to"),
        (["simclr", "--seeds", "0"], "--seeds must be at least 1"),
        (["simclr", "--seed", "-1"], "--seed -1: needs a whole number from 0"),
        (["simclr", "--jobs", "0"], "--jobs must be 1 to"),
        (["simclr", "--backend", "slurm"], "No backend 'slurm'; known: local, ray"),
        (["simclr", "--on", "test"], "never reads the test images"),
        (["simclr", "--scale", "labtop"], "No scale 'labtop'"),
        (["simclr", "--dataset", "cifra10"], "cifra10"),
        (["simclr", "--set", "optimizer=SGD", "--set", "optimizer.lra=1"], "no such field"),
        (["dcl"], "dcl begins at the study of simclr"),
        (["simclr", "--dataset", "flat:."], "needs labels"),
    ],
)
def test_bad_input_is_a_sentence(run, words, sentence) -> None:
    words = words if "--scale" in words else [*words, "--scale", "smoke"]
    code, out, err = run("tune", *words)
    assert code == 2 and not out
    assert sentence in err and len(err.strip().splitlines()) == 1


def test_a_study_that_fails_does_not_keep_the_others_from_being_run(run, monkeypatch) -> None:
    asked = []

    def fail(self, recipe, **more):
        asked.append(recipe)
        raise RunFailed(f"{recipe} failed.")

    monkeypatch.setattr(TuneRequest, "run", fail)
    code, _, err = run("tune", "simclr", "byol", "--scale", "smoke")
    assert code == 3 and asked == ["simclr", "byol"]
    assert "2 of 2 studies failed: simclr failed. byol failed." in err


def test_all_of_the_space_fixed_is_nothing_to_tune(run) -> None:
    fixed = ["optimizer.lr=0.1", "optimizer.weight_decay=0.1", "views.first.crop.scale=[0.5, 1]",
             "encoder=ResNet"]  # fmt: skip
    sets = [word for one in fixed[:3] for word in ("--set", one)]
    code, _, err = run("tune", "supervised", "--scale", "smoke", *sets)
    assert code == 2 and "supervised has nothing to tune: --set fixes all of its space" in err


def test_without_optuna(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = run("tune", "simclr", *QUICK)
    assert code == 2 and "pip install 'sslbench[tune]'" in err
