"""Average precision: what pycocotools says, and what can be said by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sslbench.data.split import Instances
from sslbench.evaluation.detection_metrics import (
    Detections,
    coco_dataset,
    coco_results,
    judged,
)

SIDE = 32


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def filled(box):
    """Masks of whole boxes, K×H×W."""
    masks = torch.zeros(len(box), SIDE, SIDE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, box.round().long().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return masks


def truth(image, box, label, **more):
    return Instances(image=torch.tensor(image), box=box, label=torch.tensor(label),
                     mask=filled(box), **more)  # fmt: skip


def found(image, box, label, score):
    return Detections(torch.tensor(image, dtype=torch.int64), box, torch.tensor(score),
                      torch.tensor(label, dtype=torch.int64), filled(box))  # fmt: skip


def random_case(seed, images=12, classes=3):
    """Objects, and detections that are some of these, moved, and others."""
    draw = np.random.default_rng(seed)

    def boxes(count):
        corner = draw.integers(0, 20, (count, 2))
        return np.concatenate([corner, corner + draw.integers(4, 12, (count, 2))], 1)

    count = 30
    image = np.sort(draw.integers(0, images, count))
    box, label = boxes(count), draw.integers(0, classes, count)
    crowd = draw.random(count) < 0.15
    moved = np.clip(box + draw.integers(-2, 3, box.shape), 0, SIDE)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    extra = np.sort(draw.integers(0, images, 15))
    all_images = np.concatenate([image, extra])
    order = np.argsort(all_images, kind="stable")
    all_boxes = np.concatenate([moved, boxes(15)])[order]
    labels = np.concatenate([label, draw.integers(0, classes, 15)])[order]
    return truth(
        image.tolist(), boxes_of(*box.tolist()), label.tolist(), crowd=torch.from_numpy(crowd)
    ), found(
        all_images[order].tolist(), boxes_of(*all_boxes.tolist()), labels.tolist(),
        draw.random(45).astype(np.float32).tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_pycocotools_prints(kind, seed):
    known, detections = random_case(seed)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        coco = COCO()
        coco.dataset = coco_dataset(known, num_images=12, kind=kind)
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(coco_results(detections, kind=kind)), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert "Average Precision" in printed.getvalue()
    with contextlib.redirect_stdout(io.StringIO()) as silent:
        values = judged(known, detections, num_images=12, kind=kind).values
    assert silent.getvalue() == ""
    expected = [100 * x for x in judge.stats[:3]]
    assert list(values.values()) == pytest.approx(expected, rel=1e-12)
    assert 0 < values["ap"] < 100


def test_a_case_by_hand():
    """Two objects of a class. The first detection is exact, the second meets nothing, the third
    has 8 of 10 columns of the other object: an intersection over union of 0.8.

    Up to 0.8, seven thresholds: precision 1 up to a recall of 1/2 (51 points of 101), then 2/3.
    Above, three thresholds: 51 points of 1. The second class was found nowhere: 0.
    """
    known = truth([0, 1, 1], boxes_of([2, 2, 12, 12], [4, 4, 14, 14], [20, 20, 30, 30]), [0, 0, 1])
    detections = found([0, 0, 1], boxes_of([2, 2, 12, 12], [20, 20, 25, 25], [4, 4, 12, 14]),
                       [0, 0, 0], [0.9, 0.8, 0.7])  # fmt: skip
    easy, hard = (51 + 50 * 2 / 3) / 101, 51 / 101
    for kind in ("bbox", "segm"):
        values = judged(known, detections, num_images=2, kind=kind).values
        assert values["ap50"] == values["ap75"] == pytest.approx(100 * easy / 2)
        assert values["ap"] == pytest.approx(100 * (7 * easy + 3 * hard) / 10 / 2)


def test_nothing_found_is_nought_and_an_absent_class_is_left_out():
    known = truth([0, 1], boxes_of([2, 2, 12, 12], [4, 4, 14, 14]), [0, 0])
    nothing = found([], boxes_of(), [], [])
    for kind in ("bbox", "segm"):
        assert judged(known, nothing, num_images=2, kind=kind).values == {
            "ap": 0.0, "ap50": 0.0, "ap75": 0.0,
        }  # fmt: skip
    box = boxes_of([2, 2, 12, 12], [4, 4, 14, 14], [20, 20, 30, 30])
    more = found([0, 1, 1], box, [0, 0, 7], [0.5, 0.5, 0.9])
    assert judged(known, more, num_images=2).values["ap"] == pytest.approx(100)


def test_a_crowd_counts_neither_way():
    box = boxes_of([2, 2, 12, 12], [14, 14, 30, 30])
    known = truth([0, 0], box, [0, 0], crowd=torch.tensor([False, True]))
    inside = boxes_of([2, 2, 12, 12], [15, 15, 20, 20], [22, 22, 28, 28])
    detections = found([0, 0, 0], inside, [0, 0, 0], [0.5, 0.9, 0.8])
    assert judged(known, detections, num_images=1).values["ap"] == pytest.approx(100)
    plain = truth([0, 0], box, [0, 0])
    assert judged(plain, detections, num_images=1).values["ap"] < 50


def test_images_without_objects_count_against_what_is_found_there():
    known = truth([1], boxes_of([2, 2, 12, 12]), [0])
    detections = found([0, 1], boxes_of([2, 2, 12, 12], [2, 2, 12, 12]), [0, 0], [0.9, 0.5])
    assert judged(known, detections, num_images=2).values["ap"] == pytest.approx(50)


def test_kept_arrays_give_the_masks_back():
    _, detections = random_case(0)
    arrays = detections.arrays()
    shape = arrays["det_mask_shape"]
    bits = np.unpackbits(arrays["det_mask"], count=int(np.prod(shape))).reshape(shape)
    assert np.array_equal(bits.astype(bool), detections.mask.numpy())
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "det_image": "int32", "det_box": "float32", "det_score": "float32", "det_label": "int32",
        "det_mask": "uint8", "det_mask_shape": "int32",
    }  # fmt: skip
