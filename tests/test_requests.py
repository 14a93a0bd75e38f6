"""What is asked for by name: what is changed, and which layer each field came from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sslbench.cli.values import parse_sets
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.recipes.resolve import resolve
from sslbench.requests import experiment_file, resolved, split_changes


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of a run that a table asked for."""
    layers = [("row ema-0.9", {"target.momentum": 0.9})]
    found = resolve("byol", scale="smoke", layers=layers, seed=3)
    RunFolder(tmp_path).write_experiment(found.experiment, found.provenance)
    return tmp_path / "experiment.yaml"


def changed(file: Path, *sets: str) -> dict[str, str]:
    found = resolved(str(file), scale="laptop", changes=parse_sets(sets), seed=3)
    return found.provenance


def test_a_runs_file_keeps_the_layer_of_each_field(kept: Path):
    assert changed(kept) == RunFolder(kept.parent).provenance()
    assert changed(kept)["target.momentum"] == "row ema-0.9"


def test_a_field_that_set_changes_is_of_set_and_the_others_stay(kept: Path):
    before, after = changed(kept), changed(kept, "optimizer.lr=0.5")
    assert after == {**before, "optimizer.lr": "--set"}
    assert before["optimizer.lr"] != "--set"


def test_fields_of_a_kind_that_set_switches_are_of_set(kept: Path):
    after = changed(kept, "objective.temperature=0.2", "objective=InfoNCE")
    assert {v for k, v in after.items() if k.startswith("objective.")} == {"--set"}
    assert after["target.momentum"] == "row ema-0.9"


def test_a_file_without_layers_is_the_layer_of_its_fields(kept: Path):
    document = yaml.safe_load(kept.read_text())
    for content in ({"experiment": document["experiment"]}, document["experiment"]["recipe"]):
        kept.write_text(yaml.safe_dump(content))
        after = changed(kept, "epochs=1")
        assert after.pop("epochs") == "--set"
        assert set(after.values()) == {str(kept)}


@pytest.mark.parametrize("layers", [["recipe"], {"epochs": 3}, "recipe"])
def test_layers_that_are_none_are_refused_with_the_file(kept: Path, layers: object):
    document = yaml.safe_load(kept.read_text())
    kept.write_text(yaml.safe_dump({**document, "provenance": layers}))
    with pytest.raises(UserError, match=r"experiment\.yaml: provenance"):
        experiment_file(kept)


def test_changes_of_the_data_stand_apart():
    changes = parse_sets(["epochs=1", "data.num_train = 5"])
    assert split_changes(changes) == ({"epochs": 1}, {"num_train": 5})
