from __future__ import annotations

import shutil
from pathlib import Path

from sslbench.reports.runs.collect import collect, run_paths


def everything(store: Path):
    found, others = run_paths(str(store), store)
    return collect(found, others=others)


def names(groups) -> list[list[str]]:
    return [[run.name.rpartition("-")[0] for run in group.runs] for group in groups]


def test_a_word_is_a_run_a_folder_of_runs_or_the_start_of_names(kept):
    (one,) = kept.glob("untrained-*")
    assert run_paths(str(one), kept) == ([one], [])
    assert run_paths("simsiam", kept)[0] == list(kept.glob("simsiam-*"))
    assert len(run_paths("simclr-s0", kept)[0]) == 3
    found, others = run_paths(str(kept), kept)
    assert len(found) == 10 and others == [kept / "notes"]
    assert run_paths("nothing", kept) == ([], [])
    assert run_paths("nothing", kept / "absent") == ([], [])


def test_runs_that_differ_in_their_seed_only_stand_together(kept):
    groups = everything(kept).groups
    assert ["simclr-s0", "simclr-s1"] in names(groups)
    assert names(groups).count(["simclr-s0"]) == 2  # other temperature, other data
    assert ["byol-s0", "byol-s3"] in names(groups)


def test_damaged_runs_and_other_folders_are_named(kept):
    remarks = everything(kept).remarks
    assert any(r.startswith("broken-s0 cannot be shown: ") and "\n" not in r for r in remarks)
    assert "Not run folders (no experiment.yaml): notes." in remarks


def test_a_copy_is_no_further_seed(store):
    (run,) = store.glob("untrained-*")
    shutil.copytree(run, store / "untrained-s0-0123")
    collection = everything(store)
    (group,) = [g for g in collection.groups if g.first.experiment.recipe.name == "untrained"]
    assert len(group.runs) == 1
    assert any("is a copy of" in r or "cannot be shown" in r for r in collection.remarks)


def test_baselines_are_found_beside_the_runs_they_belong_to(kept):
    baselines = collect(kept.glob("simclr-s1-*")).baselines
    assert sorted(names(baselines)) == [["raw-pixels-s0"], ["untrained-s0"]]
    (simsiam,) = kept.glob("simsiam-*")
    assert len(collect([simsiam]).baselines) == 2
    flat = next(p for p in kept.glob("simclr-s0-*") if "flat" in (p / "run.json").read_text())
    assert collect([flat]).baselines == ()


def test_a_damaged_score_is_named_and_the_run_stays(store):
    (run,) = store.glob("simclr-s1-*")
    file = next((run / "scores").glob("*.knn.v1.json"))
    file.write_text("{")
    (group,) = collect([run]).groups
    assert "knn.v1" in group.first.remarks[0]
    assert [protocol for _, protocol in group.first.scores] == ["geometry.v1"]


def test_a_damaged_summary_is_named(store):
    (run,) = store.glob("simclr-s1-*")
    (run / "run.json").write_text("[1")
    collection = collect([run])
    assert not collection.groups and "run.json" in collection.remarks[0]


def test_a_missing_log_leaves_the_numbers(store):
    (run,) = store.glob("simclr-s1-*")
    (run / "metrics.jsonl").unlink()
    (group,) = collect([run]).groups
    assert list(group.first.log) == [] and group.first.number("final", "loss") is not None
