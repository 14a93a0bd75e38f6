"""Detections and instance masks of test images: which are right, and which objects are missed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbench.data import Dataset, Instances
from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import Record
from sslbench.evaluation.analyses.judged import Drawn, Judged, class_names
from sslbench.evaluation.kept import kept_arrays
from sslbench.evaluation.matching import (
    NEITHER,
    RIGHT,
    WRONG,
    best_threshold,
    box_overlaps,
    mask_overlaps,
    match,
)
from sslbench.evaluation.subject import Subject

Array = np.ndarray[Any, Any]
TRUTH, PREDICTION, CROWD = "truth", "prediction", "crowd"
WORDS = {RIGHT: "right", WRONG: "wrong", NEITHER: CROWD}  # of a detection
COUNTED = ("found", "missed", "right", "wrong")
_BOXES = {
    "det_image": ("iu", "K"),
    "det_box": ("f", "K×4"),
    "det_score": ("f", "K"),
    "det_label": ("iu", "K"),
}
_MASKS = {"det_mask": ("u", "P"), "det_mask_shape": ("iu", "3")}


@dataclass(frozen=True)
class Objects:
    """K objects in images, ascending by image: found or true ones, on the CPU.

    `score` is 1 of a true one, `crowd` is false of a found one; `mask` K×H×W bool or None.
    """

    image: Array
    box: Array
    label: Array
    score: Array
    crowd: Array
    mask: Array | None = None

    def at(self, image: int) -> slice:
        """Where those of an image lie."""
        return slice(*np.searchsorted(self.image, [image, image + 1]).tolist())


@dataclass(frozen=True)
class MatchedObjects:
    """Found and true objects of all test images, and which of them belong together.

    `verdict` int8 K as `sslbench.evaluation.matching` has it; `surety` float64 M, the score of the
    detection that found a true object, negative infinity where none did.
    """

    found: Objects
    true: Objects
    verdict: Array
    surety: Array


def matched_objects(subject: Subject, protocol: str, *, masks: bool) -> MatchedObjects:
    """Detections that a protocol kept, against the truth, by their masks or else their boxes.

    Raises:
        UserError: the data lack boxes or masks, or no fitting detections were kept.
    """
    true = _true(subject, masks)
    found = _found(subject, protocol, masks)
    verdict = np.zeros(len(found.image), np.int8)
    surety = np.full(len(true.image), -np.inf)
    for image in np.unique(found.image):
        a, b = found.at(image), true.at(image)
        if masks:
            assert found.mask is not None and true.mask is not None
            overlaps = mask_overlaps(found.mask[a], true.mask[b], true.crowd[b])
        else:
            overlaps = box_overlaps(found.box[a], true.box[b], true.crowd[b])
        overlaps[found.label[a][:, None] != true.label[b][None]] = -1.0
        verdict[a], finder = match(overlaps, found.score[a], true.crowd[b])
        hit = finder >= 0
        surety[b][hit] = found.score[a][finder[hit]]
    return MatchedObjects(found, true, verdict, surety)


def judged_objects(
    subject: Subject, protocol: str, *, masks: bool, least_score: float | None
) -> Judged:
    """Detections against the true objects; the value of an image is F1 at an IoU of .5 of the
    detections that are drawn, in percent. (Its average precision would not do: a detection of any
    score raises it, also one that the least sure of other images would beat.)

    Args:
        masks: compare and draw masks, not boxes.
        least_score: what is surer is drawn; None is where F1 is largest over all test images.
    """
    both = matched_objects(subject, protocol, masks=masks)
    least = least_score
    if least is None:
        real = int(np.count_nonzero(~both.true.crowd))
        least = best_threshold(both.verdict, both.found.score, real)
    why = ", where F1 over all test images is largest" if least_score is None else ""
    images = range(len(subject.dataset.test))
    return Judged(
        measure="mask_f1" if masks else "f1",
        values=np.array([_f1(both, image, least) for image in images]),
        higher=True,
        draw=lambda row: _drawn(subject.dataset, both, row, least),
        notes=[f"{subject.folder.path.name}: shown from a score of {least:.2g}{why}."],
    )


def _f1(both: MatchedObjects, image: int, least: float) -> float:
    """Of the detections of at least that score, in percent; NaN where there is nothing to count."""
    a, b = both.found.at(image), both.true.at(image)
    verdict = both.verdict[a][both.found.score[a] >= least]
    right, wrong = (int(np.count_nonzero(verdict == word)) for word in (RIGHT, WRONG))
    total = right + wrong + int(np.count_nonzero(~both.true.crowd[b]))
    return 100 * 2 * right / total if total else float("nan")


def _drawn(dataset: Dataset, both: MatchedObjects, row: int, least: float) -> Drawn:
    """All true objects of an image, and the detections of at least that score."""
    a, b = both.found.at(row), both.true.at(row)
    true, found = range(b.start, b.stop), range(a.start, a.stop)
    sides = [(TRUTH, both.true, i, _fate(both, i, least)) for i in true]
    sides += [(PREDICTION, both.found, i, WORDS[int(both.verdict[i])]) for i in found
              if both.found.score[i] >= least]  # fmt: skip
    points: list[Record] = []
    masks: dict[str, Tensor] = {}
    for side, objects, i, word in sides:
        part = f"{side} {i}" if objects.mask is not None else ""
        if objects.mask is not None:
            masks[part] = torch.from_numpy(objects.mask[i])
        label = int(objects.label[i])
        corners = zip(("left", "top", "right", "bottom"), objects.box[i].tolist(), strict=True)
        points.append(
            {
                "side": side,
                "class": class_names(dataset, [label])[0],
                "label": label,
                "score": float(objects.score[i]),
                "verdict": word,
                **dict(corners),
                "picture": part,
            }
        )
    words = [record["verdict"] for record in points]
    return Drawn({word: words.count(word) for word in COUNTED}, points, masks)


def _fate(both: MatchedObjects, i: int, least: float) -> str:
    """What became of a true object among the detections of at least a score."""
    if both.true.crowd[i]:
        return CROWD
    return "found" if both.surety[i] >= least else "missed"


def _true(subject: Subject, masks: bool) -> Objects:
    split = subject.dataset.test
    word = "masks" if masks else "boxes"
    if word not in split.annotations or split.instances is None:
        raise UserError(f"'{subject.label}' has no {word} to compare with; name another --dataset.")
    found: Instances = split.instances.to("cpu")
    count = len(found)
    crowd = np.zeros(count, bool) if found.crowd is None else found.crowd.numpy()
    mask = found.mask.numpy() if masks and found.mask is not None else None
    return Objects(
        found.image.numpy(), found.box.numpy(), found.label.numpy(), np.ones(count), crowd, mask
    )


def _found(subject: Subject, protocol: str, masks: bool) -> Objects:
    """Detections in the order of the images, within an image as they were kept."""
    kept = kept_arrays(subject, protocol, _BOXES | (_MASKS if masks else {}))
    image, label = kept["det_image"], kept["det_label"]
    shape = (len(image), *subject.dataset.test.images.shape[2:])
    own = not len(image) or (
        image.min() >= 0 and image.max() < len(subject.dataset.test) and label.min() >= 0
    )
    if masks:
        own = own and tuple(kept["det_mask_shape"].tolist()) == shape
        own = own and 8 * len(kept["det_mask"]) >= math.prod(shape)
    if not own:
        raise UserError(
            f"The detections that {protocol} kept of {subject.folder.path.name} are not of these "
            f"{len(subject.dataset.test)} test images; score it again with `sslbench eval --force`."
        )
    order = np.argsort(image, kind="stable")
    mask = None
    if masks:
        bits = np.unpackbits(kept["det_mask"], count=math.prod(shape))
        mask = bits.reshape(shape).astype(bool)[order]
    return Objects(
        image[order],
        kept["det_box"][order],
        label[order],
        kept["det_score"][order].astype(np.float64),
        np.zeros(len(image), bool),
        mask,
    )
