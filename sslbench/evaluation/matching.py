"""Which found object is which true one, as COCO's evaluation settles it, image by image.

The protocols' numbers are pycocotools' own; this says of each object whether it was found, which
a picture shows and those numbers do not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
IOU = 0.5  # from which on an object counts as found
RIGHT, WRONG, NEITHER = 1, 0, -1  # NEITHER: it lies in a crowd, where nothing is counted
RECALLS = np.linspace(0.0, 1.0, 101)


class Matches(NamedTuple):
    """Of D detections int8 RIGHT, WRONG or NEITHER; of G objects int64, which detection found it,
    -1 where none did."""

    verdict: Array
    finder: Array


def box_overlaps(found: Array, true: Array, crowd: Array) -> Array:
    """Intersection over union of boxes (left, top, right, bottom), D×4 with G×4: D×G float64; over
    the found box alone where the true one is a crowd (bool G)."""
    found, true = found.astype(np.float64), true.astype(np.float64)
    low = np.maximum(found[:, None, :2], true[None, :, :2])
    high = np.minimum(found[:, None, 2:], true[None, :, 2:])
    inter = (high - low).clip(min=0).prod(axis=2)
    first, second = (
        (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (found, true)
    )
    return _share(inter, first, second, crowd)


def mask_overlaps(found: Array, true: Array, crowd: Array) -> Array:
    """The same of bool masks D×H×W with G×H×W."""
    pixels = found.shape[1] * found.shape[2]
    a, b = (masks.reshape(len(masks), pixels).astype(np.float64) for masks in (found, true))
    return _share(a @ b.T, a.sum(axis=1), b.sum(axis=1), crowd)


def _share(inter: Array, found: Array, true: Array, crowd: Array) -> Array:
    union = np.where(crowd[None], found[:, None], found[:, None] + true[None] - inter)
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def match(overlaps: Array, scores: Array, crowd: Array, *, iou: float = IOU) -> Matches:
    """Each detection of an image, the surest first, takes the object that it overlaps most.

    Args:
        overlaps: D×G; of objects of another class below 0.
        scores: D.
        crowd: bool G; it may be taken by several, and what takes it counts as neither.
        iou: the least overlap.
    Source: pycocotools, COCOeval.evaluateImg.
    """
    verdict = np.full(len(scores), WRONG, np.int8)
    finder = np.full(len(crowd), -1)
    for row in np.argsort(-scores, kind="stable"):
        free = np.where((finder >= 0) | crowd, -1.0, overlaps[row])
        if len(free) and free.max() >= iou:
            last = len(free) - 1 - int(free[::-1].argmax())  # of equal ones, as there
            finder[last], verdict[row] = row, RIGHT
        elif np.any(overlaps[row][crowd] >= iou):
            verdict[row] = NEITHER
    return Matches(verdict, finder)


def precision_at_recalls(verdict: Array, scores: Array, total: int) -> Array:
    """Precision at the 101 recalls of `RECALLS`, the best that this or a larger recall has: 101
    float64, whose mean is the average precision.

    Args:
        verdict: D detections of a class, in the order of the images.
        scores: D.
        total: how many objects of the class there are, above 0.
    Source: pycocotools, COCOeval.accumulate.
    """
    order = np.argsort(-scores, kind="stable")
    counted = verdict[order][verdict[order] != NEITHER]
    right = np.cumsum(counted == RIGHT)
    precision = right / np.arange(1, len(counted) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(right / total, RECALLS, side="left")
    return np.append(best, 0.0)[place]


def best_threshold(verdict: Array, scores: Array, total: int) -> float:
    """The score from which on detections have the largest F1; 0 where none is right.

    Args:
        verdict, scores: D detections of all classes and images.
        total: how many objects there are.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[verdict[order] != NEITHER]
    right = np.cumsum(verdict[order] == RIGHT)
    if not len(order) or not right[-1]:
        return 0.0
    f1 = 2 * right / (np.arange(1, len(order) + 1) + total)
    ends = np.append(scores[order][1:] < scores[order][:-1], True)  # equal scores stand together
    return float(scores[order][np.where(ends, f1, -1.0).argmax()])
