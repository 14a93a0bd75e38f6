"""Average precision of boxes and masks, as COCO has it, by pycocotools.

AP is the mean over intersections over union of 0.5 to 0.95 by 0.05, over classes and over 101
points of recall; AP50 and AP75 are of one threshold. The areas that COCO calls small, medium and
large are pixels of its own images, so that they are not reported. Crowds count neither way.
Source: Lin et al. 2014; the COCO detection metrics.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslbench.data.split import Instances
from sslbench.evaluation.matching import NEITHER, RIGHT, WRONG

_OVERLAPS = 10
_THRESHOLDS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}
Kind = Literal["bbox", "segm"]


@dataclass(frozen=True, eq=False)
class Detections:
    """K objects that were found, on the CPU.

    Attributes:
        image: int64 K, positions in the split; ascending.
        box: float32 K×4, (left, top, right, bottom) in pixels.
        score: float32 K, in [0, 1].
        label: int64 K, positions in `Dataset.classes`.
        mask: bool K×H×W; None of a detector of boxes.
    """

    image: Tensor
    box: Tensor
    score: Tensor
    label: Tensor
    mask: Tensor | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """As they are kept beside a score; masks as bits, their shape in `det_mask_shape`."""
        found: dict[str, np.ndarray] = {
            "det_image": self.image.numpy().astype(np.int32),
            "det_box": self.box.numpy().astype(np.float32),
            "det_score": self.score.numpy().astype(np.float32),
            "det_label": self.label.numpy().astype(np.int32),
        }
        if self.mask is not None:
            found["det_mask"] = np.packbits(self.mask.numpy(), axis=None)
            found["det_mask_shape"] = np.array(self.mask.shape, dtype=np.int32)
        return found


class Judgement(NamedTuple):
    """`ap`, `ap50`, `ap75` in percent; and the arrays of `per_image.Verdicts`."""

    values: dict[str, float]
    verdicts: dict[str, np.ndarray]


def judged(
    truth: Instances, found: Detections, *, num_images: int, kind: Kind = "bbox"
) -> Judgement:
    """Average precision. Classes without an object are left out; where nothing is found it is 0.

    Args:
        truth: the objects of so many images, on the CPU, at least one that is no crowd.
        kind: intersections of boxes, or of masks, which both must have.
    """
    real = ~truth.crowd if truth.crowd is not None else torch.ones(len(truth), dtype=torch.bool)
    objects = np.zeros((num_images, int(truth.label.max()) + 1), np.int32)
    np.add.at(objects, (truth.image[real].numpy(), truth.label[real].numpy()), 1)
    if len(found.image) == 0:
        return Judgement(dict.fromkeys(_THRESHOLDS, 0.0), _verdicts([], objects))
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with _silent():
        known = COCO()
        known.dataset = coco_dataset(truth, num_images=num_images, kind=kind)
        known.createIndex()
        judge = COCOeval(known, known.loadRes(coco_results(found, kind=kind)), kind)
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0, -1]  # T×R×C, of all areas and detections
    values = {name: _mean(precision[rows]) for name, rows in _THRESHOLDS.items()}
    wide = tuple(judge.params.areaRng[0])  # objects of any size
    each = [one for one in judge.evalImgs if one is not None and tuple(one["aRng"]) == wide]
    return Judgement(values, _verdicts(each, objects))


def _verdicts(each: Sequence[Mapping[str, Any]], objects: np.ndarray) -> dict[str, np.ndarray]:
    """What COCOeval says of the detections of each image and class, as arrays."""
    each = sorted(each, key=lambda one: one["image_id"])
    found = [len(one["dtScores"]) for one in each]
    matched = np.concatenate([np.zeros((_OVERLAPS, 0)), *(one["dtMatches"] for one in each)], 1)
    ignored = np.concatenate([np.zeros((_OVERLAPS, 0)), *(one["dtIgnore"] for one in each)], 1)
    return {
        "ap_image": np.repeat(np.array([one["image_id"] for one in each], np.int32), found),
        "ap_label": np.repeat(np.array([one["category_id"] for one in each], np.int32), found),
        "ap_score": np.array([s for one in each for s in one["dtScores"]], np.float32),
        "ap_verdict": np.where(ignored > 0, NEITHER, np.where(matched > 0, RIGHT, WRONG)).astype(
            np.int8
        ),
        "ap_objects": objects,
    }


def coco_dataset(truth: Instances, *, num_images: int, kind: Kind) -> dict[str, Any]:
    """Objects in COCO's words; ids count from 1, since 0 means "none" to the matching."""
    labels = truth.label.tolist()
    shape = () if truth.mask is None else truth.mask.shape[1:]
    size = dict(zip(("height", "width"), shape, strict=False))
    crowd = truth.crowd if truth.crowd is not None else torch.zeros(len(truth), dtype=torch.bool)
    notes = []
    for row, (image, label) in enumerate(zip(truth.image.tolist(), labels, strict=True)):
        note = {"id": row + 1, "image_id": image, "category_id": label,
                "iscrowd": int(crowd[row]), **_box(truth.box[row])}  # fmt: skip
        if kind == "segm":
            assert truth.mask is not None
            note |= {"segmentation": _encoded(truth.mask[row]), "area": int(truth.mask[row].sum())}
        notes.append(note)
    return {
        "images": [{"id": image, **size} for image in range(num_images)],
        "categories": [{"id": label} for label in sorted(set(labels))],
        "annotations": notes,
    }


def coco_results(found: Detections, *, kind: Kind) -> list[dict[str, Any]]:
    """Detections in COCO's words."""
    results = []
    for row, image in enumerate(found.image.tolist()):
        result = {"image_id": image, "category_id": int(found.label[row]),
                  "score": float(found.score[row])}  # fmt: skip
        if kind == "segm":
            assert found.mask is not None
            result["segmentation"] = _encoded(found.mask[row])
        else:
            result["bbox"] = _box(found.box[row])["bbox"]
        results.append(result)
    return results


def _box(box: Tensor) -> dict[str, Any]:
    left, top, right, bottom = box.double().tolist()
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height}


def _encoded(mask: Tensor) -> dict[str, Any]:
    from pycocotools import mask as masks

    encoded: dict[str, Any] = masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    return encoded


def _mean(precision: np.ndarray) -> float:
    """In percent, of the classes that have an object; -1 stands for those that have none."""
    known = precision[precision > -1]
    assert known.size
    return 100.0 * float(known.mean())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """pycocotools prints what it does."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
