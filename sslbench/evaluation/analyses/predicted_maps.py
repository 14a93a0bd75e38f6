"""Predicted maps of classes and of depth of test images, and how far each is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sslbench.data import Dataset
from sslbench.data.split import BACKGROUND, VOID
from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import Record
from sslbench.evaluation.analyses.judged import Drawn, Judged, class_names
from sslbench.evaluation.kept import kept_arrays
from sslbench.evaluation.subject import Subject

Array = np.ndarray[Any, Any]
NO_CLASS = "none of the classes"


def judged_segmentation(subject: Subject, protocol: str) -> Judged:
    """Predicted semantic maps against the true ones; the value of an image is the mean IoU over the
    classes in its true or its predicted map, in percent, without void pixels.

    The protocol's mIoU is of one confusion matrix over all images, and no mean of these.
    """
    true, found = kept_maps(subject, protocol)
    shares = [class_ious(a, b) for a, b in zip(found, true, strict=True)]

    def draw(row: int) -> Drawn:
        points: list[Record] = [
            {
                "class": kind_name(subject.dataset, kind),
                "value": kind,
                "iou": 100 * share,
                "true_pixels": int(np.count_nonzero(true[row] == kind)),
                "predicted_pixels": int(
                    np.count_nonzero((found[row] == kind) & (true[row] != VOID))
                ),
            }
            for kind, share in shares[row].items()
        ]
        right = (found[row] == true[row])[true[row] != VOID]
        accuracy = 100 * float(right.mean()) if len(right) else float("nan")
        pictures = {
            "truth": torch.from_numpy(true[row]),
            "prediction": torch.from_numpy(found[row]),
        }
        return Drawn({"accuracy": accuracy, "classes": len(points)}, points, pictures)

    means = [100 * float(np.mean([*own.values()])) if own else float("nan") for own in shares]
    return Judged(measure="iou", values=np.array(means), higher=True, draw=draw)


def class_ious(found: Array, true: Array) -> dict[int, float]:
    """Intersection over union of every class in either of two arrays of maps, by its value there;
    pixels whose truth is void count nowhere."""
    known = true != VOID
    a, b = found[known], true[known]
    out: dict[int, float] = {}
    for kind in np.union1d(a, b).tolist():
        inter = np.count_nonzero((a == kind) & (b == kind))
        out[int(kind)] = float(inter / np.count_nonzero((a == kind) | (b == kind)))
    return out


def kept_maps(subject: Subject, protocol: str) -> tuple[Array, Array]:
    """The true and the predicted semantic maps of the test images, uint8 N×H×W each.

    Raises:
        UserError: the data have no such maps, or the protocol kept none.
    """
    maps = subject.dataset.test.semantic_maps()
    if maps is None:
        raise UserError(
            f"'{subject.label}' has no maps of classes to compare with; name another --dataset."
        )
    found = kept_arrays(subject, protocol, {"semantic": ("u", "N×H×W")})["semantic"]
    return maps.cpu().numpy(), found


def kind_name(dataset: Dataset, kind: int) -> str:
    """What a value of a semantic map stands for."""
    return NO_CLASS if kind == BACKGROUND else class_names(dataset, [kind - 1])[0]


def judged_depth(subject: Subject, protocol: str) -> Judged:
    """Predicted depth against the true one, of the first test images, whose maps are kept; the
    value of an image is its mean absolute relative error."""
    split = subject.dataset.test
    if split.depth is None:
        raise UserError(f"'{subject.label}' has no depth to compare with; name another --dataset.")
    wanted = {"depth": ("f", "M×H×W"), "abs_rel": ("f", "N")}
    kept = kept_arrays(subject, protocol, wanted)
    found, errors = kept["depth"].astype(np.float32), kept["abs_rel"].astype(np.float64)
    true = split.depth[: len(found)].cpu().numpy()

    def draw(row: int) -> Drawn:
        known = np.isfinite(true[row]) & (true[row] > 0)
        a, b = found[row][known].astype(np.float64), true[row][known].astype(np.float64)
        rmse = float(np.sqrt(np.mean((a - b) ** 2))) if len(b) else float("nan")
        within = np.maximum(a / b, b / np.maximum(a, 1e-12)) < 1.25
        delta = 100 * float(within.mean()) if len(b) else float("nan")
        shown = np.where(known, true[row], np.nan)
        pictures = {"truth": torch.from_numpy(shown), "prediction": torch.from_numpy(found[row])}
        return Drawn({"rmse": rmse, "delta1": delta}, [], pictures)

    return Judged(measure="abs_rel", values=errors[: len(found)], higher=False, draw=draw)
