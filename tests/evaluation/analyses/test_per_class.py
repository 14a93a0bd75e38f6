from __future__ import annotations

import numpy as np
import pytest
import torch

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis, analyze_per_class
from sslbench.reports.figures import FIGURES
from tests.evaluation.analyses.hand_made import detections, keep, split, with_test

FOUND = detections(
    (0, (1, 1, 7, 8), 0.9, 0),  # the cat
    (1, (0, 0, 3, 3), 0.8, 2),  # no cow
    (1, (4, 4, 12, 11), 0.2, 2),  # the cow
    (2, (0, 0, 16, 8), 0.6, 1),  # in the crowd of dogs
)


@pytest.fixture
def own(subject, tmp_path):
    return with_test(subject, split(), tmp_path)


def test_each_class_with_objects_has_its_average_precision_and_curve(own):
    keep(own, "detection.v1", **FOUND)
    found = analyze_per_class(own, "detection")
    values = {line["class"]: (line["ap50"], line["objects"]) for line in found.summary}
    assert values == {"cat": (100.0, 1), "dog": (0.0, 1), "cow": (50.0, 1)}
    cow = [p["precision"] for p in found.points if p["class"] == "cow"]
    assert cow == [50.0] * 101
    left, right = FIGURES["per-class-detection"](found).axes
    assert [text.get_text() for text in right.get_yticklabels()] == ["cat", "cow", "dog"]
    assert len(left.lines) == 4  # the classes, and their mean
    assert left.lines[-1].get_ydata().tolist() == [50.0] * 101
    assert left.get_legend_handles_labels()[1] == ["simclr-s0: AP50 50.0"]


def test_masks_are_compared_for_instances(own):
    keep(own, "instance.v1", **FOUND)
    assert [line["mask_ap50"] for line in analyze_per_class(own, "instance").summary] == [
        100.0, 0.0, 50.0,
    ]  # fmt: skip


def test_iou_of_a_class_is_over_all_images_at_once(subject, tmp_path):
    true = torch.zeros(4, 16, 16, dtype=torch.uint8)
    true[0, :8], true[1, 0], true[2, 0] = 1, 1, 255
    own = with_test(subject, split(semantic=true, instances=None), tmp_path)
    predicted = np.zeros((4, 16, 16), np.uint8)
    predicted[0, :8], predicted[3, :1] = 1, 3
    keep(own, "segmentation.linear.v1", semantic=predicted)
    found = analyze_per_class(own, "segmentation")
    values = {line["class"]: line["iou"] for line in found.summary}
    expected = 100 * (8 * 16) / (9 * 16)  # not the mean of the images' 100 and 0
    assert values["cat"] == pytest.approx(expected)
    assert values["cow"] == 0.0 and "dog" not in values
    shares = [line["pixels_percent"] for line in found.summary]
    assert sum(shares) == pytest.approx(100)
    (axes,) = FIGURES["per-class-segmentation"](found).axes
    assert len(axes.patches) == 3


def test_classes_whose_labels_were_not_measured_are_left_out(own):
    keep(own, "multilabel.svm.v1", svm_ap=np.array([40.0, np.nan, 90.0], np.float32))
    found = analyze_per_class(own, "multilabel")
    assert [(line["class"], line["ap"], line["images"]) for line in found.summary] == [
        ("cat", 40.0, 1), ("cow", 90.0, 1),
    ]  # fmt: skip


def test_of_very_many_classes_the_first_have_bars():
    lines = [{"run": "a", "dataset": "set", "class": f"class {i}", "ap": float(i), "images": 1}
             for i in range(130)]  # fmt: skip
    (axes,) = FIGURES["per-class-multilabel"](Analysis(name="per-class", summary=lines)).axes
    assert len(axes.patches) == 100
    assert axes.get_yticklabels()[0].get_text() == "class 129"
    assert "the first 100 of 130" in axes.get_title()
    (mean,) = axes.lines
    assert mean.get_xdata()[0] == 64.5


def test_wrong_input_is_refused(own):
    with pytest.raises(UserError, match="no 'depth'"):
        analyze_per_class(own, "depth")
    with pytest.raises(UserError, match="no score of segmentation"):
        analyze_per_class(own, "segmentation")
    keep(own, "multilabel.svm.v1", svm_ap=np.full(3, np.nan, np.float32))
    with pytest.raises(UserError, match="measured no class"):
        analyze_per_class(own, "multilabel")
