from __future__ import annotations

import dataclasses

import pytest

from sslbench.recipes.resolve import resolve
from sslbench.reports.runs.collect import RunGroup, collect
from sslbench.reports.runs.view import group_labels
from sslbench.reports.runs.words import (
    causes,
    changes,
    data_sentence,
    duration,
    facts,
    state,
    states,
)


@pytest.fixture
def groups(kept):
    found = collect(sorted(p for p in kept.iterdir() if (p / "experiment.yaml").is_file()))
    return dict(zip(group_labels(found.groups), found.groups, strict=True))


def test_groups_have_names_that_tell_them_apart(groups):
    assert {"untrained", "raw-pixels", "byol"} <= set(groups)
    assert len(groups) == len(set(groups))
    assert any("objective.temperature=0.5" in label for label in groups)
    assert any("flat" in label for label in groups)


def test_states_and_their_causes_are_words(groups):
    byol = groups["byol"]
    assert states(byol) == [("not finished 1 of 2", "undecided"), ("failed 1 of 2", "not-held")]
    first, second = causes(byol)
    assert first.startswith("Seed 0 not finished: It is being trained now, or its process")
    assert second == "Seed 3 failed: The loss is not finite at step 3."
    assert state(groups["untrained"].first) == ("not trained", "")


def test_data_are_named_with_their_images_and_labels(groups, photos):
    assert data_sentence(groups["untrained"].first) == (
        "shapes: 96 training and 32 test images in 10 classes, 16 pixels"
    )
    (flat,) = [g for label, g in groups.items() if "flat" in label]
    assert data_sentence(flat.first) == (
        f"flat ({photos}): 54 training and 6 test images without labels, 16 pixels"
    )


def test_a_run_of_before_images_were_noted_takes_them_from_its_data_or_says_so(groups):
    (flat,) = [g for label, g in groups.items() if "flat" in label]
    for group, expected in ((groups["untrained"], "96 training"), (flat, "not recorded")):
        run = group.first
        bare = {k: v for k, v in run.summary.items() if k != "images"}
        sentence = data_sentence(dataclasses.replace(run, summary=bare))
        assert expected in sentence
        assert ("without labels" in sentence) == (group is flat)


def test_changes_are_those_from_the_recipe_and_the_users_own_are_told_from_the_scales(groups):
    (simsiam,) = [g for label, g in groups.items() if label.startswith("simsiam")]
    found = {c.field: c for c in changes(simsiam.first)}
    assert found["predictor"].value == "null" and found["predictor"].before == "MLP"
    assert found["predictor"].own and found["predictor"].layer == "--set"
    assert not any(c.own for c in found.values() if c.layer.startswith("scale"))
    assert any(not c.own for c in found.values())


def test_a_start_is_named_and_told_by_what_is_changed_of_it(groups):
    (simsiam,) = [g for label, g in groups.items() if label.startswith("simsiam")]
    layers = [("--set", {"start": "byol", "start.target.momentum": 0.5})]
    made = resolve("simsiam", scale="smoke", layers=layers)
    run = dataclasses.replace(simsiam.first, experiment=made.experiment, provenance=made.provenance)
    found = {c.field: c for c in changes(run)}
    assert (found["start"].value, found["start"].before) == ("byol", "null")
    assert found["start"].own and found["start"].layer == "--set"
    own = [c.field for c in found.values() if c.field.startswith("start.") and c.own]
    assert own == ["start.target.momentum"]
    assert found["start.epochs"].layer == "scale smoke"


def test_stale_numerics_are_said(groups):
    run = groups["untrained"].first
    old = dataclasses.replace(run, summary={**run.summary, "numerics": 0})
    assert facts(RunGroup((old,)))["numerics"].startswith("0 (stale: ")


def test_values_of_the_wrong_kind_in_a_summary_are_left_out(groups):
    run = groups["untrained"].first
    odd = {"elapsed_seconds": "long", "final": 3, "device": ["x"], "images": {"train": None},
           "numerics": None, "verdict": "good", "resolution": float("nan")}  # fmt: skip
    strange = dataclasses.replace(run, summary={**run.summary, **odd})
    assert "time" not in facts(RunGroup((strange,)))
    assert state(strange)[0] == "not trained"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10.0 min"), (9000, "2.5 h")]
)
def test_times_are_in_the_unit_that_reads_best(seconds, text):
    assert duration(seconds) == text


def test_what_a_step_costs_is_said_where_it_is_known(groups):
    first, second = groups["byol"].runs
    assert "cost" not in facts(RunGroup((first,)))

    def costing(run, **cost):
        return dataclasses.replace(run, summary={**run.summary, "cost": cost})

    both = RunGroup((costing(first, gflops=0.1234, step_ms=5.0), costing(second, step_ms=7.25)))
    assert facts(both)["cost"] == "0.123 GFLOPs forward an image, 5 to 7.25 ms a step"
    alone = RunGroup((costing(first, gflops=0.1234),))
    assert facts(alone)["cost"] == "0.123 GFLOPs forward an image"
