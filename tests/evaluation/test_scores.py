from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scores import Score, all_scores, comparable, current_score, load_score
from sslbench.typed import read_as

SCORE = Score(
    protocol="knn.v1",
    definition="abc",
    dataset="shapes",
    fingerprint="f" * 64,
    encoder="e" * 64,
    values={"top1": 50.0},
    chosen={"k": 20},
    heldout={"top1": 51.0},
    num_train=96,
    num_test=32,
    elapsed_seconds=1.5,
)

KNN1 = PROTOCOLS["knn.v1"]
CURRENT = dataclasses.replace(SCORE, definition=KNN1.definition)


def test_json_gives_the_same_score_back(tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    path.write_text(json.dumps(SCORE.to_dict()))
    assert load_score(path) == SCORE


def test_a_score_from_before_test_images_were_compared_is_read(tmp_path: Path) -> None:
    old = SCORE.to_dict()
    del old["shared"]
    (tmp_path / "score.json").write_text(json.dumps(old))
    assert load_score(tmp_path / "score.json").shared is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"protocol": "knn.v1"}', "3",
                                  json.dumps(SCORE.to_dict() | {"values": []}),
                                  json.dumps(SCORE.to_dict() | {"num_test": "32"})])  # fmt: skip
def test_a_damaged_file_is_no_score(tmp_path: Path, text: str) -> None:
    path = tmp_path / "score.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"score\.json"):
        load_score(path)


def kept(folder: RunFolder, score: Score, label: str) -> Score:
    """The score as a run keeps it."""
    path = folder.score_path(label, score.protocol)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(score.to_dict()))
    return score


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run on the data `f...`, with a score on them and on others of the same name."""
    run = RunFolder(tmp_path / "run")
    run.write_summary({"fingerprint": "f" * 64})
    kept(run, CURRENT, "shapes")
    kept(run, dataclasses.replace(CURRENT, fingerprint="a" * 64), f"shapes-{'a' * 12}")
    return run


def test_a_score_is_found_by_protocol_and_data(folder: RunFolder) -> None:
    found = current_score(folder, KNN1, dataset="shapes", fingerprint="f" * 64)
    assert found == CURRENT
    other = current_score(folder, KNN1, dataset="shapes", fingerprint="a" * 64)
    assert other is not None and other.fingerprint == "a" * 64


@pytest.mark.parametrize("change", ["protocol", "definition", "content", "encoder", "damaged"])
def test_a_score_of_anything_else_is_not_current(folder: RunFolder, change: str) -> None:
    protocol, print_, encoder = KNN1, "f" * 64, "e" * 64
    if change == "protocol":
        protocol = PROTOCOLS["linear.features.v1"]
    elif change == "definition":
        kept(folder, SCORE, "shapes")
    elif change == "content":
        print_ = "b" * 64
    elif change == "encoder":
        encoder = "0" * 64
    else:
        folder.score_path("shapes", "knn.v1").write_text("{")
    assert current_score(folder, protocol, dataset="shapes", fingerprint=print_,
                         encoder=encoder) is None  # fmt: skip


def test_all_scores_of_a_run_are_read_and_damaged_ones_named(folder: RunFolder) -> None:
    linear = dataclasses.replace(SCORE, protocol="linear.features.v1")
    kept(folder, linear, "shapes")
    folder.score_path("svhn", "knn.v1").write_text("{")
    found, unread = all_scores(folder)
    assert set(found) == {("shapes", "knn.v1"), (f"shapes-{'a' * 12}", "knn.v1"),
                          ("shapes", "linear.features.v1")}  # fmt: skip
    assert len(unread) == 1 and "svhn.knn.v1.json" in unread[0]
    assert all_scores(folder, "linear.features.v1") == (
        {("shapes", "linear.features.v1"): linear}, [])  # fmt: skip


def test_scores_of_two_encoders_under_one_definition_compare() -> None:
    comparable(SCORE, dataclasses.replace(SCORE, encoder="other", values={"top1": 1.0}))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("protocol", "linear.features.v1", "different measurements"),
        ("definition", "abd", "different settings"),
        ("fingerprint", "0" * 64, "different data"),
    ],
)
def test_other_protocol_settings_or_data_are_refused(field: str, value: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        comparable(SCORE, dataclasses.replace(SCORE, **{field: value}))


def test_scores_of_before_inputs_were_kept_are_read() -> None:
    old = SCORE.to_dict()
    del old["inputs"], old["source"]
    assert read_as(old, Score, where="score") == SCORE
