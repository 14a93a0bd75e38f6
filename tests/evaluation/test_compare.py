from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.compare import compare, interval, mcnemar
from tests.evaluation.test_scores import SCORE
from tests.tiny import summary

LABELS = np.arange(100) % 10


def scored(path: Path, wrong: list[int], *, label: str = "shapes", **changes: object) -> RunFolder:
    """A run whose kNN is wrong on some of 100 test images."""
    folder = RunFolder(path)
    folder.write_summary(summary())
    score = SCORE.to_dict() | {"num_test": 100} | changes
    file = folder.score_path(label, "knn.v1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(score))
    predictions = folder.predictions_path(label, "knn.v1")
    predictions.parent.mkdir(exist_ok=True)
    predicted = LABELS.copy()
    predicted[wrong] += 1
    np.savez(predictions, label=LABELS, predicted=predicted)
    return folder


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (10, 2), (3, 17), (40, 60)])
def test_the_exact_p_value_is_the_binomial_tail_twice(b: int, c: int) -> None:
    n = b + c
    tail = sum(comb(n, i) for i in range(min(b, c) + 1)) / 2**n
    assert mcnemar(b, c) == pytest.approx(min(1.0, 2 * tail))


def test_a_known_p_value() -> None:
    assert mcnemar(10, 2) == pytest.approx(0.03857421875)  # 158 / 4096


def test_the_interval_is_walds_with_half_a_pair_in_each_cell() -> None:
    low, high = interval(10, 2, 100)
    difference = 8 / 102
    reach = 1.959964 * (13 - 64 / 102) ** 0.5 / 102
    assert (low, high) == pytest.approx((100 * (difference - reach), 100 * (difference + reach)))


def test_the_interval_has_a_width_without_differing_images_and_ends_at_100() -> None:
    low, high = interval(0, 0, 1000)
    assert -1 < low < 0 < high < 1
    assert interval(3, 0, 3)[1] == 100.0


def test_two_runs_are_compared_image_by_image(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", [0, 1]), scored(tmp_path / "b", [1, 2, 3, 4])
    result = compare(a, b, "knn")
    assert (result.value_a, result.value_b) == (98.0, 96.0)
    assert (result.only_a, result.only_b) == (3, 1)
    assert result.difference == pytest.approx(2.0)
    assert result.low < 2.0 < result.high
    assert result.p_value == pytest.approx(0.625)
    assert "cannot be told apart" in result.sentence("a", "b")


def test_swapping_the_runs_turns_the_sign(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", [0, 1]), scored(tmp_path / "b", [1, *range(2, 12)])
    there, back = compare(a, b, "knn"), compare(b, a, "knn")
    assert there.p_value == back.p_value < 0.05
    assert (there.difference, there.low) == (-back.difference, pytest.approx(-back.high))
    assert "the two differ" in there.sentence("a", "b")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", []), scored(tmp_path / "b", [], definition="other")
    with pytest.raises(UserError, match="different settings"):
        compare(a, b, "knn")


def test_another_test_set_is_refused(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", []), scored(tmp_path / "b", [], fingerprint="0" * 64)
    with pytest.raises(UserError, match="different data"):
        compare(a, b, "knn")


def test_of_several_versions_of_a_set_the_shared_one_is_taken(tmp_path: Path) -> None:
    a = scored(tmp_path / "a", [1], label="stl10", dataset="stl10", fingerprint="0" * 64)
    scored(tmp_path / "a", [1, 2], label="stl10-1", dataset="stl10", fingerprint="1" * 64)
    b = scored(tmp_path / "b", [], label="stl10-1", dataset="stl10", fingerprint="1" * 64)
    assert compare(a, b, "knn", dataset="stl10").value_a == 98.0


def test_a_missing_score_says_what_to_run(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", []), RunFolder(tmp_path / "b")
    with pytest.raises(UserError, match="sslbench eval"):
        compare(a, b, "knn")


def test_damaged_predictions_say_what_to_run(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", []), scored(tmp_path / "b", [])
    b.predictions_path("shapes", "knn.v1").write_bytes(b"PK")
    with pytest.raises(UserError, match="--force"):
        compare(a, b, "knn")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"label": LABELS}, "missing or damaged"),
        ({"label": LABELS, "predicted": LABELS.astype(float)}, "missing or damaged"),
        ({"label": LABELS[:50], "predicted": LABELS[:50]}, "missing or damaged"),
        ({"label": LABELS, "predicted": np.zeros(10**6, np.int64)}, "missing or damaged"),
        ({"label": LABELS, "predicted": np.array([{}] * 100, dtype=object)}, "missing or damaged"),
    ],
)
def test_predictions_that_are_not_a_class_for_every_image_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    a, b = scored(tmp_path / "a", [1]), scored(tmp_path / "b", [2])
    np.savez_compressed(b.predictions_path("shapes", "knn.v1"), **arrays)
    with pytest.raises(UserError, match=words):
        compare(a, b, "knn")


def test_no_predictions_are_nothing_to_compare(tmp_path: Path) -> None:
    a, b = (scored(tmp_path / name, [], num_test=0) for name in "ab")
    for run in (a, b):
        np.savez(run.predictions_path("shapes", "knn.v1"), label=LABELS[:0], predicted=LABELS[:0])
    with pytest.raises(UserError, match="holds no predictions"):
        compare(a, b, "knn")


def test_a_damaged_score_is_named(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", [1]), scored(tmp_path / "b", [2])
    b.score_path("shapes", "knn.v1").write_text('{"protocol": 1}')
    with pytest.raises(UserError, match=r"b has no knn.v1 score .*shapes.knn.v1.json is damaged"):
        compare(a, b, "knn")
