"""Predicted labels of test images that have several: the surest classes, and which are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import Record
from sslbench.evaluation.analyses.judged import Drawn, Judged, class_names
from sslbench.evaluation.kept import kept_arrays
from sslbench.evaluation.subject import Subject

Array = np.ndarray[Any, Any]
SURE = 5  # classes that are shown of an image, with the true ones below them


def judged_labels(subject: Subject, protocol: str) -> Judged:
    """Scores of classes against the classes that an image shows; the value of an image is the
    average precision of the order that the scores give its classes, in percent. Doubtful classes
    count neither as right nor as wrong."""
    split = subject.dataset.test
    if split.multilabels is None:
        raise UserError(
            f"'{subject.label}' does not say which classes an image shows; name another --dataset."
        )
    true = split.multilabels.cpu().numpy()
    doubtful = np.zeros_like(true) if split.doubtful is None else split.doubtful.cpu().numpy()
    scores = kept_arrays(subject, protocol, {"svm_score": ("f", "N×C")})["svm_score"]
    if scores.shape != true.shape:
        raise UserError(
            f"The scores that {protocol} kept of {subject.folder.path.name} are of "
            f"{scores.shape[1]} classes, and '{subject.label}' has {true.shape[1]}; score it again "
            "with `sslbench eval --force`."
        )
    counted = np.isfinite(scores) & ~doubtful
    values = [ranking_precision(s[c], t[c]) for s, t, c in zip(scores, true, counted, strict=True)]

    def draw(row: int) -> Drawn:
        order = [i for i in np.argsort(-scores[row], kind="stable").tolist()
                 if np.isfinite(scores[row, i])]  # fmt: skip
        points: list[Record] = [
            {
                "class": class_names(subject.dataset, [i])[0],
                "label": i,
                "rank": rank,
                "score": float(scores[row, i]),
                "verdict": _word(bool(true[row, i]), bool(doubtful[row, i])),
            }
            for rank, i in enumerate(order, 1)
            if rank <= SURE or true[row, i]
        ]
        first = [point["verdict"] for point in points if point["rank"] <= SURE]
        counts = {"classes": int(true[row].sum()), f"among_first_{SURE}": first.count("right")}
        return Drawn(counts, points, {})

    return Judged(measure="ranking_ap", values=100 * np.array(values), higher=True, draw=draw)


def _word(true: bool, doubtful: bool) -> str:
    if doubtful:
        return "doubtful"
    return "right" if true else "wrong"


def ranking_precision(scores: Array, true: Array) -> float:
    """Mean over the true classes of the share of true ones among those that are no less sure; NaN
    without a true one.

    Args:
        scores: C; true: bool C.
    """
    above = scores[None, :] >= scores[true][:, None]  # T×C
    if not len(above):
        return float("nan")
    return float(np.mean((above & true[None]).sum(axis=1) / above.sum(axis=1)))
