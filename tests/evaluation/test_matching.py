from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from sslbench.evaluation.matching import (
    NEITHER,
    RIGHT,
    WRONG,
    best_threshold,
    box_overlaps,
    mask_overlaps,
    match,
    precision_at_recalls,
)


def boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corner = generator.uniform(0, 20, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(3, 14, (count, 2))], axis=1)


def test_overlap_of_boxes_is_that_of_their_pixels():
    generator = np.random.default_rng(0)
    found, true = (np.floor(boxes(generator, n)) for n in (5, 4))
    crowd = np.array([False, True, False, False])

    def painted(own: np.ndarray) -> np.ndarray:
        masks = np.zeros((len(own), 40, 40), bool)
        for mask, (left, top, right, bottom) in zip(masks, own.astype(int), strict=True):
            mask[top:bottom, left:right] = True
        return masks

    expected = np.zeros((5, 4))
    for i, a in enumerate(painted(found)):
        for j, b in enumerate(painted(true)):
            whole = a if crowd[j] else a | b
            expected[i, j] = (a & b).sum() / whole.sum()
    np.testing.assert_allclose(box_overlaps(found, true, crowd), expected)
    np.testing.assert_allclose(mask_overlaps(painted(found), painted(true), crowd), expected)


def test_an_empty_mask_overlaps_nothing():
    empty = np.zeros((1, 4, 4), bool)
    assert mask_overlaps(empty, empty, np.array([False])) == 0


def test_the_surest_detection_takes_the_object_and_a_second_one_is_wrong():
    overlaps = np.array([[0.6], [0.9], [0.49]])
    verdict, finder = match(overlaps, np.array([0.9, 0.8, 0.7]), np.array([False]))
    assert verdict.tolist() == [RIGHT, WRONG, WRONG]
    assert finder.tolist() == [0]


def test_what_lies_in_a_crowd_counts_as_neither_however_often():
    overlaps = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.8]])
    verdict, finder = match(overlaps, np.array([0.5, 0.6, 0.7]), np.array([True, False]))
    assert verdict.tolist() == [NEITHER, NEITHER, RIGHT]
    assert finder.tolist() == [-1, 2]


def test_without_objects_all_is_wrong_and_without_detections_nothing_is_found():
    none = np.zeros(0, bool)
    assert match(np.zeros((2, 0)), np.array([0.1, 0.2]), none).verdict.tolist() == [WRONG] * 2
    assert match(np.zeros((0, 2)), np.zeros(0), np.zeros(2, bool)).finder.tolist() == [-1, -1]


def test_average_precision_of_a_case_by_hand():
    # right, wrong, right of 4 objects: precision 1 up to recall 1/4, 2/3 up to 1/2, then 0.
    verdict, scores = np.array([RIGHT, WRONG, NEITHER, RIGHT]), np.array([0.9, 0.8, 0.75, 0.7])
    precision = precision_at_recalls(verdict, scores, 4)
    assert precision.mean() == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)
    assert precision_at_recalls(np.zeros(0), np.zeros(0), 3).tolist() == [0.0] * 101


def test_the_threshold_has_the_largest_f1():
    verdict, scores = np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    f1 = {t: 2 * (verdict[scores >= t] == 1).sum() / ((scores >= t).sum() + 4) for t in scores}
    assert f1[best_threshold(verdict, scores, 4)] == max(f1.values())
    equal = best_threshold(np.array([1, 0, 0]), np.array([0.5, 0.5, 0.4]), 1)
    assert equal == 0.5
    assert best_threshold(np.array([0, -1]), np.array([0.5, 0.6]), 3) == 0.0
    assert best_threshold(np.zeros(0), np.zeros(0), 3) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_and_average_precision_are_those_of_pycocotools(seed):
    """Many boxes of few classes, equal scores and crowds among them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    generator = np.random.default_rng(seed)
    images, classes = range(6), range(3)
    true = [
        (i, int(label), box, bool(generator.random() < 0.2))
        for i in images
        for label, box in zip(generator.integers(0, 3, 6), boxes(generator, 6), strict=True)
    ]
    found = [
        (i, c, box + np.tile(generator.normal(0, 1, 2), 2), generator.integers(1, 9) / 10)
        for i, c, box, _ in true * 2
        if generator.random() < 0.8
    ]
    found.sort(key=lambda one: one[0])

    def coco_box(box: np.ndarray) -> list[float]:
        return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in images],
            "categories": [{"id": c + 1} for c in classes],
            "annotations": [
                {"id": n + 1, "image_id": i + 1, "category_id": int(c) + 1, "bbox": coco_box(b),
                 "area": float((b[2:] - b[:2]).prod()), "iscrowd": int(crowd)}
                for n, (i, c, b, crowd) in enumerate(true)
            ],
        }  # fmt: skip
        truth.createIndex()
        results = truth.loadRes(
            [{"image_id": i + 1, "category_id": int(c) + 1, "bbox": coco_box(b), "score": s}
             for i, c, b, s in found]
        )  # fmt: skip
        judge = COCOeval(truth, results, "bbox")
        judge.evaluate()
        judge.accumulate()
    for c in classes:
        verdicts, scores, total = [], [], 0
        for i in images:
            own = [x for x in true if x[:2] == (i, c)]
            mine = [x for x in found if x[:2] == (i, c)]
            crowd = np.array([x[3] for x in own], bool)
            score = np.array([x[3] for x in mine])
            total += int((~crowd).sum())
            if mine:
                true_boxes = np.array([x[2] for x in own]).reshape(-1, 4)
                overlaps = box_overlaps(np.array([x[2] for x in mine]), true_boxes, crowd)
                verdicts.append(match(overlaps, score, crowd).verdict)
                scores.append(score)
                theirs = judge.evalImgs[c * 4 * len(images) + i]  # area range "all" comes first
                order = np.argsort(-score, kind="stable")
                right = (theirs["dtMatches"][0] > 0) & ~theirs["dtIgnore"][0]
                assert ((verdicts[-1] == RIGHT)[order] == right).all()
                assert ((verdicts[-1] == NEITHER)[order] == theirs["dtIgnore"][0]).all()
        ours = precision_at_recalls(np.concatenate(verdicts), np.concatenate(scores), total)
        np.testing.assert_allclose(ours, judge.eval["precision"][0, :, c, 0, 2], atol=1e-12)
