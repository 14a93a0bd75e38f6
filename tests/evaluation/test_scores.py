from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sslbench.errors import UserError
from sslbench.evaluation import Score, comparable
from sslbench.evaluation.scores import read_score
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


def test_json_gives_the_same_score_back(tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    path.write_text(json.dumps(SCORE.to_dict()))
    assert read_score(path) == SCORE


def test_a_score_from_before_test_images_were_compared_is_read(tmp_path: Path) -> None:
    old = SCORE.to_dict()
    del old["shared"]
    (tmp_path / "score.json").write_text(json.dumps(old))
    found = read_score(tmp_path / "score.json")
    assert found is not None and found.shared is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"protocol": "knn.v1"}', "3",
                                  json.dumps(SCORE.to_dict() | {"values": []}),
                                  json.dumps(SCORE.to_dict() | {"num_test": "32"})])  # fmt: skip
def test_a_damaged_file_is_no_score(tmp_path: Path, text: str) -> None:
    path = tmp_path / "score.json"
    path.write_text(text)
    assert read_score(path) is None


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
