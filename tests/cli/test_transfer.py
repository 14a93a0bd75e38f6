"""`transfer` on the command line: tasks, data sets, and what stands beside a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslbench.evaluation.tasks import USUAL
from sslbench.requests import find_data
from tests.cli.test_cli import trained


@pytest.fixture
def name(run) -> str:
    return Path(trained(run, "simclr")).name


def test_a_run_stands_beside_its_untrained_encoder_and_others(run, name):
    supervised = Path(trained(run, "supervised")).name
    words = ["--to", "classification", "--protocol", "knn", "--beside", supervised]
    code, out, err = run("transfer", name, *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [run.partition("-s")[0] for run in found] == ["simclr", "supervised", "untrained"]
    assert {key for scores in found.values() for key in scores} == {"shapes:knn.v1"}
    code, out, err = run("transfer", name, *words)
    assert code == 0, err
    assert all(word in out for word in ("simclr", "supervised", "untrained", "top1"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "detecton"], "No task or data set 'detecton'; did you mean 'detection'"),
        (["--to", "cifar1000"], "No task or data set 'cifar1000'; did you mean 'cifar100'"),
        (["--to", ","], "--to names nothing"),
        (["--to", "shapes", "--dataset", "scenes"], "--dataset goes with a task in --to"),
        (["--to", "depth:"], "after the colon"),
        (["--to", "detection", "--dataset", "flat:photos"], "photos"),
        (["--to", "scenes", "--protocol", "knn"], "knn.v1 needs labels, which data set 'scenes'"),
        (["--to", "shapes", "--beside", "nothing"], "No run 'nothing'"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, name, words, sentence):
    code, _, err = run("transfer", name, *words)
    assert code == 2
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_a_bare_word_is_the_task_and_one_with_a_colon_the_set():
    """Two readers have the names of tasks."""
    assert {"segmentation", "depth"} <= set(USUAL)
    for word in ("segmentation", "depth"):
        data = find_data(f"{word}:folder", "smoke")
        assert data is not None and data.set_name == word and data.path == "folder"


def test_what_each_class_has_of_its_own_is_told_as_a_range() -> None:
    from sslbench.reports.runs.words import chosen_words

    assert chosen_words({"learning_rate": 0.5}) == "learning_rate 0.5"
    many = {f"C of {name}": value for name, value in [("cat", 10.0), ("dog", 0.01), ("cow", 1.0)]}
    assert chosen_words({**many, "rate": 1}) == "C 0.01 to 10 (3 classes), rate 1"
