"""Predictions written by hand: what is shown of which image, and what is said of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_predictions
from sslbench.evaluation.analyses.judged import Judged
from sslbench.evaluation.analyses.predicted_labels import ranking_precision
from sslbench.evaluation.analyses.predicted_maps import class_ious
from tests.evaluation.analyses.hand_made import detections, keep, split, with_test

FOUND = detections(
    (2, (1, 0, 15, 8), 0.6, 1),  # in the crowd
    (0, (1, 1, 7, 8), 0.9, 0),  # the cat
    (0, (8, 2, 15, 12), 0.8, 2),  # the dog, called a cow
    (1, (4, 4, 12, 11), 0.2, 2),  # the cow, hardly sure
    (3, (0, 0, 4, 4), 0.7, 0),  # where nothing is
)


@pytest.fixture
def scored(subject, tmp_path):
    """A run on the four images, with detections."""
    own = with_test(subject, split(), tmp_path)
    keep(own, "detection.v1", {"ap": 12.5, "ap50": 50.0}, **FOUND)
    return own


def of(analysis, image, side):
    return [p for p in analysis.points if (p["image"], p["side"]) == (image, side)]


def test_each_box_stands_on_its_image_with_its_class_and_whether_it_is_right(scored):
    found = analyze_predictions(scored, "detection", index=[0, 1, 2, 3], least_score=0.1)
    truth = [(p["class"], p["verdict"], p["left"], p["bottom"]) for p in of(found, 0, "truth")]
    assert truth == [("cat", "found", 1.0, 7.0), ("dog", "missed", 8.0, 12.0)]
    predicted = [(p["class"], p["verdict"]) for p in of(found, 0, "prediction")]
    assert predicted == [("cat", "right"), ("cow", "wrong")]
    assert [p["verdict"] for p in of(found, 2, "truth") + of(found, 2, "prediction")] == [
        "crowd"
    ] * 2
    assert [(p["class"], p["verdict"]) for p in of(found, 3, "prediction")] == [("cat", "wrong")]
    assert [line["f1"] for line in found.summary[:2]] == [50.0, 100.0]
    assert math.isnan(found.summary[2]["f1"])  # a crowd
    assert found.summary[3]["f1"] == 0.0  # wrong, where nothing is
    line = found.summary[0]
    assert [line[k] for k in ("found", "missed", "right", "wrong")] == [1, 1, 1, 1]
    pictures = found.pictures
    assert torch.equal(pictures["shapes test 1"], scored.dataset.test.images[1])
    assert "ap 12.5, ap50 50" in found.notes[0]


def test_what_is_less_sure_is_not_drawn_and_its_object_is_missed(scored):
    found = analyze_predictions(scored, "detection", index=[1], least_score=0.3)
    assert of(found, 1, "prediction") == []
    assert [p["verdict"] for p in of(found, 1, "truth")] == ["missed"]
    assert found.summary[0]["f1"] == 0.0


def test_the_usual_least_score_has_the_largest_f1(scored):
    found = analyze_predictions(scored, "detection", index=[0])
    assert "from a score of 0.2, where F1" in found.notes[1]  # 4/7, at 0.9 it is 2/4


def test_masks_are_compared_and_shown_where_the_task_is_instance(scored):
    keep(scored, "instance.v1", **FOUND)
    found = analyze_predictions(scored, "instance", index=[0], least_score=0.1)
    (cat, _), (right, _) = of(found, 0, "truth"), of(found, 0, "prediction")
    assert found.pictures[right["picture"]].sum() == 6 * 7
    assert found.pictures[cat["picture"]].sum() == 6 * 6
    assert found.summary[0]["mask_f1"] == 50.0


def test_no_detections_at_all_are_shown_as_such(subject, tmp_path):
    own = with_test(subject, split(), tmp_path)
    keep(own, "detection.v1", **detections())
    found = analyze_predictions(own, "detection", index=[0, 3])
    assert {p["verdict"] for p in found.points} == {"missed"}
    assert found.summary[0]["f1"] == 0.0


def test_a_set_without_class_names_shows_numbers(subject, tmp_path):
    own = with_test(subject, split(), tmp_path, classes=())
    keep(own, "detection.v1", **FOUND)
    found = analyze_predictions(own, "detection", index=[0], least_score=0.1)
    assert [p["class"] for p in of(found, 0, "prediction")] == ["class 0", "class 2"]


def test_worst_and_best_come_first_and_what_cannot_be_judged_last():
    judged = Judged(measure="iou", values=np.array([3.0, math.nan, 1.0, 2.0]), higher=True,
                    draw=lambda row: pytest.fail("not asked for"))  # fmt: skip
    assert judged.sorted("worst") == [2, 3, 0, 1]
    assert judged.sorted("best") == [0, 3, 2, 1]
    error = dataclasses.replace(judged, higher=False)
    assert error.sorted("worst") == [0, 3, 2, 1]


def test_the_worst_images_are_shown(scored):
    found = analyze_predictions(scored, "detection", sort="worst", count=2)
    assert [line["image"] for line in found.summary] == [3, 0]
    best = analyze_predictions(scored, "detection", sort="best", count=1)
    assert [line["image"] for line in best.summary] == [1]


def test_maps_of_classes_are_judged_without_void_pixels(subject, tmp_path):
    true = torch.zeros(4, 16, 16, dtype=torch.uint8)
    true[0, :8], true[0, 8:12], true[1] = 1, 255, 255
    own = with_test(subject, split(semantic=true, instances=None), tmp_path)
    predicted = np.zeros((4, 16, 16), np.uint8)
    predicted[0, :6], predicted[0, 6:8] = 1, 3
    keep(own, "segmentation.linear.v1", semantic=predicted)
    found = analyze_predictions(own, "segmentation", index=[0, 1])
    shares = {p["class"]: p["iou"] for p in found.points}
    assert shares == {"none of the classes": 100.0, "cat": 75.0, "cow": 0.0}
    assert found.summary[0]["iou"] == pytest.approx(175 / 3)
    assert found.summary[0]["accuracy"] == pytest.approx(100 * (160 / 192))
    assert math.isnan(found.summary[1]["iou"])  # all void


def test_iou_of_classes_is_that_of_a_loop():
    generator = np.random.default_rng(0)
    found, true = generator.integers(0, 4, (2, 9, 9)).astype(np.uint8)
    true[generator.random((9, 9)) < 0.2] = 255
    expected = {}
    for kind in range(4):
        pixels = [
            (a == kind, b == kind) for a, b in zip(found.flat, true.flat, strict=True) if b != 255
        ]
        both, either = sum(a and b for a, b in pixels), sum(a or b for a, b in pixels)
        expected[kind] = both / either
    assert class_ious(found, true) == pytest.approx(expected)


def test_depth_is_shown_of_the_images_whose_maps_are_kept(subject, tmp_path):
    true = split().depth.clone()
    true[0, 0] = math.nan
    own = with_test(subject, split(depth=true), tmp_path)
    errors = np.array([0.1, 0.3, 0.2, 0.9], np.float32)
    keep(own, "depth.v1", depth=(2 * true[:3]).numpy().astype(np.float16), abs_rel=errors)
    found = analyze_predictions(own, "depth", sort="worst", count=2)
    assert [line["image"] for line in found.summary] == [1, 2]
    assert found.summary[0]["abs_rel"] == pytest.approx(0.3)
    assert found.summary[0]["delta1"] == 0.0
    (first,) = analyze_predictions(own, "depth", index=[0]).summary
    expected = true[0][1:].double()
    assert first["rmse"] == pytest.approx(float(expected.square().mean().sqrt()), rel=1e-3)
    with pytest.raises(UserError, match="0 to 2"):
        analyze_predictions(own, "depth", index=[3])


def test_labels_are_ranked_and_missed_ones_named(subject, tmp_path):
    classes = tuple("abcdefgh")
    true = torch.zeros(4, 8, dtype=torch.bool)
    true[0, 0] = true[0, 7] = True
    doubt = torch.zeros_like(true)
    doubt[0, 1] = True
    own = with_test(subject, split(multilabels=true, doubtful=doubt), tmp_path, classes=classes)
    scores = np.tile(np.linspace(1, -1, 8, dtype=np.float32), (4, 1))
    keep(own, "multilabel.svm.v1", svm_score=scores)
    found = analyze_predictions(own, "multilabel", index=[0, 1])
    own_points = [p for p in found.points if p["image"] == 0]
    assert [(p["class"], p["rank"]) for p in own_points][-1] == ("h", 8)
    words = [p["verdict"] for p in own_points]
    assert words == ["right", "doubtful", "wrong", "wrong", "wrong", "right"]
    assert found.summary[0]["ranking_ap"] == pytest.approx(100 * (1 + 2 / 7) / 2)
    assert math.isnan(found.summary[1]["ranking_ap"])


def test_precision_of_an_order_is_sklearns():
    from sklearn.metrics import label_ranking_average_precision_score

    generator = np.random.default_rng(1)
    scores = generator.integers(0, 5, 12) / 4
    true = generator.random(12) < 0.4
    expected = label_ranking_average_precision_score(true[None], scores[None])
    assert ranking_precision(scores, true) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"task": "detektion"}, "did you mean 'detection'"),
        ({"task": "detection", "sort": "wurst"}, "did you mean 'worst'"),
        ({"task": "detection", "sort": "worst", "index": [0]}, "leave out --sort"),
        ({"task": "detection", "index": [4]}, "0 to 3"),
        ({"task": "detection", "count": 5}, "1 to 4"),
        ({"task": "detection", "count": 0, "sort": "worst"}, "1 to 4"),
        ({"task": "detection", "least_score": 2}, "from 0 to 1"),
        ({"task": "depth", "least_score": 0.5}, "--task detection"),
        ({"task": "depth"}, r"--protocol depth.v1`"),
        ({"task": "instance"}, r"no score of instance.v1 on 'shapes'"),
        ({"task": "detection", "protocol": "fewshot"}, "no score of fewshot.v1"),
    ],
)
def test_wrong_input_is_one_sentence(scored, words, expected):
    with pytest.raises(UserError, match=expected):
        analyze_predictions(scored, **words)


def test_what_the_data_or_the_kept_arrays_lack_is_said(scored, subject, tmp_path):
    bare = dataclasses.replace(scored.dataset.test, instances=None, depth=None, multilabels=None)
    own = with_test(subject, bare, tmp_path)
    for protocol in ("depth.v1", "multilabel.svm.v1", "segmentation.linear.v1"):
        keep(own, protocol)
    for task, word in {"detection": "boxes", "depth": "no depth", "segmentation": "maps of classes",
                       "multilabel": "which classes"}.items():  # fmt: skip
        with pytest.raises(UserError, match=word):
            analyze_predictions(own, task)
    keep(scored, "instance.v1", **{k: v for k, v in FOUND.items() if "mask" not in k})
    with pytest.raises(UserError, match="det_mask"):
        analyze_predictions(scored, "instance")


def test_detections_of_other_images_are_refused(scored):
    keep(scored, "detection.v1", **detections((4, (0, 0, 4, 4), 0.5, 0)))
    with pytest.raises(UserError, match="not of these 4 test images"):
        analyze_predictions(scored, "detection")
    keep(scored, "instance.v1", **FOUND | {"det_mask_shape": np.array([5, 16, 8])})
    with pytest.raises(UserError, match="not of these 4 test images"):
        analyze_predictions(scored, "instance")


def test_scores_of_other_classes_are_refused(scored):
    keep(scored, "multilabel.svm.v1", svm_score=np.zeros((4, 5), np.float32))
    with pytest.raises(UserError, match="of 5 classes"):
        analyze_predictions(scored, "multilabel")
