from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.cli.values import parse_sets
from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.engine.place import run_folder
from sslbench.recipes.specs import ImageSet
from sslbench.reports.runs.collect import collect, read_run
from sslbench.reports.runs.steps import (
    baseline_command,
    compare_steps,
    group_steps,
    next_steps,
    report_step,
    sentence_on_labels,
)
from sslbench.requests import resolved
from tests.tiny import tiny


def commands(steps) -> list[str]:
    return [step.command for step in steps]


def one(store: Path, pattern: str) -> Path:
    (path,) = store.glob(pattern)
    return path


def flat(store: Path) -> Path:
    return next(p for p in store.glob("simclr-*") if '"flat"' in (p / "run.json").read_text())


def test_a_labelled_run_without_scores_is_evaluated_next(kept):
    path = one(kept, "simsiam-*")
    assert commands(next_steps(read_run(path))) == [f"sslbench eval {path}"]
    assert sentence_on_labels(read_run(path)) == ""


def test_a_run_without_labels_is_looked_at_next(kept):
    run = read_run(flat(kept))
    assert [c.split()[:3] for c in commands(next_steps(run))] == [
        ["sslbench", "analyze", "neighbours"], ["sslbench", "analyze", "spectrum"],
    ]  # fmt: skip
    assert "--dataset NAME" in sentence_on_labels(run)
    assert report_step(run).command.endswith("--format html")


def test_what_is_done_is_not_asked_for_again(store):
    path = flat(store)
    (path / "analyses").mkdir()
    (path / "analyses" / "neighbours.png").write_bytes(b"")
    assert "neighbours" not in " ".join(commands(next_steps(read_run(path))))


def test_predictions_of_a_score_are_looked_at_until_there_is_a_figure(store):
    run = read_run(one(store, "untrained-*"))
    (score,) = run.scores.values()
    other = replace(score, fingerprint="of other data")
    own = replace(run, scores={("shapes", "detection.v1"): score, ("more", "depth.v1"): other})
    expected = f"sslbench analyze predictions {run.folder.path} --task detection --sort worst"
    assert [c for c in commands(next_steps(own)) if c.split()[2] == "predictions"] == [expected]
    (run.folder.path / "analyses").mkdir()
    (run.folder.path / "analyses" / "predictions-detection.png").write_bytes(b"")
    assert all(c.split()[2] != "predictions" for c in commands(next_steps(own)))


def test_an_unfinished_run_is_continued_from_its_own_file_and_a_failed_one_is_not(kept):
    (command,) = commands(next_steps(read_run(kept / "byol-s0-begun")))
    assert shlex.split(command) == [
        "sslbench", "pretrain", str(kept / "byol-s0-begun" / "experiment.yaml"), "--seed", "0",
        "--runs", str(kept),
    ]  # fmt: skip
    assert next_steps(read_run(kept / "byol-s3-failed")) == []


@pytest.mark.parametrize("seed", [0, 5])
def test_the_command_of_a_run_names_its_own_folder_again(kept, seed):
    experiment = read_run(one(kept, "simsiam-*")).experiment.but(seed=seed)
    file = str(one(kept, "simsiam-*") / "experiment.yaml")
    again = resolved(file, scale="laptop", seed=seed).experiment
    folders = [run_folder(e, runs=kept, root=kept).path for e in (experiment, again)]
    assert folders[0] == folders[1]
    assert folders[0].exists() == (seed == 0)


@pytest.mark.parametrize("name", ["raw-pixels", "untrained"])
@pytest.mark.parametrize("run", ["simsiam", "flat"])
def test_a_baselines_command_has_the_runs_data_and_encoder(kept, name, run):
    own = read_run(flat(kept) if run == "flat" else one(kept, "simsiam-*"))
    words = shlex.split(baseline_command(name, own))
    options = dict(zip(words[3::2], words[4::2], strict=True))
    sets = [value for key, value in zip(words[3::2], words[4::2], strict=True) if key == "--set"]
    made = resolved(
        words[2],
        scale=options["--scale"],
        dataset=options.get("--dataset"),
        changes=parse_sets(sets),
    ).experiment
    assert made.data == own.experiment.data
    if name == "untrained":
        assert made.recipe.encoder == own.experiment.recipe.encoder


def test_a_group_of_one_seed_is_asked_for_another_and_missing_baselines_are_named(store):
    path = one(store, "simclr-s1-*")
    alone = collect([path])
    assert any("--seed 2" in c for c in commands(group_steps(alone.groups[0], alone)))
    assert not any(" raw-pixels " in c for c in commands(group_steps(alone.groups[0], alone)))
    for baseline in ("raw-pixels-*", "untrained-*"):
        shutil.rmtree(one(store, baseline))
    bare = collect([path])
    found = commands(group_steps(bare.groups[0], bare))
    assert any(" raw-pixels " in c for c in found) and any(" untrained " in c for c in found)


def test_two_groups_scored_alike_are_compared(kept):
    paths = [p for p in kept.glob("simclr-s0-*") if (p / "scores").is_dir()]
    (command,) = commands(compare_steps(collect(paths)))
    assert command.endswith("--protocol knn.v1 --dataset shapes")
    assert compare_steps(collect(paths[:1])) == []


def test_a_path_is_quoted_and_the_place_of_the_data_is_given_where_it_is_needed(kept, tmp_path):
    folder = RunFolder(tmp_path / "my runs" / "simsiam-s0-x")
    experiment = tiny("simclr").but(data=ImageSet(name="cifar10"))
    run = replace(read_run(one(kept, "simsiam-*")), folder=folder, experiment=experiment)
    (step,) = next_steps(run, root=tmp_path / "sets")
    assert shlex.split(step.command)[1:] == [
        "eval", str(folder.path), "--data-root", str(tmp_path / "sets"),
    ]  # fmt: skip


def test_what_an_earlier_version_began_is_not_said_to_go_on(kept):
    run = read_run(kept / "byol-s0-begun")
    old = replace(run, summary={**run.summary, "numerics": NUMERICS - 1})
    assert "goes on" in next_steps(run)[0].gives
    assert "anew" in next_steps(old)[0].gives
