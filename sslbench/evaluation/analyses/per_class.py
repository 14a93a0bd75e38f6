"""What each class of a data set contributes to a score: average precision, or IoU."""

from __future__ import annotations

import numpy as np

from sslbench.data.split import VOID
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.analyses.analysis import Analysis, Record
from sslbench.evaluation.analyses.judged import class_names
from sslbench.evaluation.analyses.predicted_maps import class_ious, kept_maps, kind_name
from sslbench.evaluation.analyses.predicted_objects import matched_objects
from sslbench.evaluation.kept import kept_arrays, kept_score
from sslbench.evaluation.matching import RECALLS, precision_at_recalls
from sslbench.evaluation.protocols import find_protocol
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.tasks import TASKS

PER_CLASS = ("detection", "instance", "segmentation", "multilabel")


def analyze_per_class(subject: Subject, task: str, *, protocol: str | None = None) -> Analysis:
    """A line a class over all test images, from what a protocol kept with its score: AP50, with the
    curve of precision over recall, of boxes or masks; IoU of maps of classes; AP of labels.

    The mean over the classes is the protocol's AP50, mIoU or mAP.

    Args:
        task: of `PER_CLASS`.
        protocol: whose predictions; None is the first of the task's that the run was scored under.
    Raises:
        UserError: an unknown task; no score, or one that kept no such predictions.
    """
    if task not in PER_CLASS:
        raise UserError(f"--task: no '{task}'{did_you_mean(task, PER_CLASS)}")
    names = TASKS[task] if protocol is None else (find_protocol(protocol).name,)
    score = kept_score(subject, names)
    common: Record = {"run": subject.folder.path.name, "dataset": subject.label}
    points: list[Record] = []
    if task == "segmentation":
        summary = _maps(subject, score.protocol)
    elif task == "multilabel":
        summary = _labels(subject, score.protocol)
    else:
        summary, points = _objects(subject, score.protocol, task == "instance")
    if not summary:
        raise UserError(
            f"{score.protocol} measured no class of '{subject.label}'; name another set."
        )
    return Analysis(
        name=f"per-class-{task}",
        summary=[common | record for record in summary],
        points=[common | record for record in points],
        notes=[f"{common['run']}: {score.protocol}, {score.num_test:,} test images."],
    )


def _objects(subject: Subject, protocol: str, masks: bool) -> tuple[list[Record], list[Record]]:
    """AP50 of each class that has objects, and its precision at 101 recalls."""
    both = matched_objects(subject, protocol, masks=masks)
    real = both.true.label[~both.true.crowd]
    summary: list[Record] = []
    points: list[Record] = []
    for label in np.unique(real).tolist():
        (name,) = class_names(subject.dataset, [label])
        own, total = both.found.label == label, int(np.count_nonzero(real == label))
        precision = precision_at_recalls(both.verdict[own], both.found.score[own], total)
        value = 100 * float(precision.mean())
        summary.append({"class": name, "mask_ap50" if masks else "ap50": value, "objects": total})
        points += [
            {"class": name, "recall": 100 * float(recall), "precision": 100 * float(value)}
            for recall, value in zip(RECALLS, precision, strict=True)
        ]
    return summary, points


def _maps(subject: Subject, protocol: str) -> list[Record]:
    """IoU of each class that is in the true or the predicted maps, and its share of the pixels."""
    true, found = kept_maps(subject, protocol)
    known = true[true != VOID]
    return [
        {
            "class": kind_name(subject.dataset, kind),
            "iou": 100 * share,
            "pixels_percent": 100 * np.count_nonzero(known == kind) / max(1, known.size),
        }
        for kind, share in class_ious(found, true).items()
    ]


def _labels(subject: Subject, protocol: str) -> list[Record]:
    """AP of each class that was measured, and how many test images show it."""
    true = subject.dataset.test.multilabels
    if true is None:
        raise UserError(
            f"'{subject.label}' does not say which classes an image shows; name another --dataset."
        )
    values = kept_arrays(subject, protocol, {"svm_ap": ("f", "C")})["svm_ap"]
    counts = true.sum(dim=0).tolist()
    names = class_names(subject.dataset, range(len(values)))
    return [
        {"class": name, "ap": float(value), "images": count}
        for name, value, count in zip(names, values, counts, strict=True)
        if np.isfinite(value)
    ]
