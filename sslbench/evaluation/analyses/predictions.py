"""Predictions on test images beside the truth: objects, maps, depth and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.analyses.analysis import Analysis, Record, chosen_images, up_to
from sslbench.evaluation.analyses.judged import Judged, Sort
from sslbench.evaluation.analyses.predicted_labels import judged_labels
from sslbench.evaluation.analyses.predicted_maps import judged_depth, judged_segmentation
from sslbench.evaluation.analyses.predicted_objects import judged_objects
from sslbench.evaluation.kept import kept_score
from sslbench.evaluation.protocols import find_protocol
from sslbench.evaluation.scores import Score
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.tasks import TASKS

USUAL = 6  # images that are shown
SORTS: tuple[Sort, ...] = ("random", "worst", "best")


def analyze_predictions(
    subject: Subject,
    task: str,
    *,
    protocol: str | None = None,
    count: int | None = None,
    seed: int = 0,
    index: Sequence[int] | None = None,
    sort: str = "random",
    least_score: float | None = None,
) -> Analysis:
    """What a protocol predicted on a few test images, beside the truth, from what it kept with its
    score; nothing is computed by the encoder.

    The summary has a line an image with a value of its own: F1 at an IoU of .5 (of boxes or masks),
    mean IoU, absolute relative error, or average precision of the order of its classes.

    Args:
        task: of `TASKS`.
        protocol: whose predictions; None is the first of the task's that the run was scored under.
        count, seed, index: which test images are shown, 6 unless said; see `chosen_images`.
        sort: "random", or the images with the "worst" or "best" values.
        least_score: of detections: what is surer is drawn; None is where F1 is largest.
    Raises:
        UserError: an unknown task or order; no score, or one that kept no such predictions; test
            images that there are not.
    """
    judged, score = _judged(subject, task, protocol, least_score)
    rows = _rows(subject, judged, count, seed, index, _known(sort))
    run = subject.folder.path.name
    analysis = Analysis(
        name=f"predictions-{task}", summary=[], notes=[_scored(run, score), *judged.notes]
    )
    for row in rows:
        drawn = judged.draw(row)
        common: Record = {"run": run, "dataset": subject.label, "image": row}
        image = image_name(common)
        value = {judged.measure: float(judged.values[row])}
        analysis.summary.append({**common, **value, **drawn.summary})
        for point in drawn.points:
            if "picture" in point:
                point["picture"] = point["picture"] and f"{run} {image} {point['picture']}"
            analysis.points.append({**common, **point})
        analysis.pictures[image] = subject.dataset.test.images[row].cpu()
        analysis.pictures.update({f"{run} {image} {k}": v for k, v in drawn.pictures.items()})
    return analysis


def image_name(record: Mapping[str, Any]) -> str:
    """What the picture of a record's test image is called."""
    return f"{record['dataset']} test {record['image']}"


def _judged(
    subject: Subject, task: str, protocol: str | None, least_score: float | None
) -> tuple[Judged, Score]:
    if task not in TASKS:
        raise UserError(f"--task: no '{task}'{did_you_mean(task, TASKS)}")
    objects = task in ("detection", "instance")
    if least_score is not None and not (objects and 0 <= least_score <= 1):
        raise UserError(
            f"--least-score {least_score:g}: needs a score from 0 to 1, and --task detection or "
            "instance, whose detections have one."
        )
    names = TASKS[task] if protocol is None else (find_protocol(protocol).name,)
    score = kept_score(subject, names)
    if objects:
        masks = task == "instance"
        return judged_objects(subject, score.protocol, masks=masks, least_score=least_score), score
    judges = {"segmentation": judged_segmentation, "depth": judged_depth,
              "multilabel": judged_labels}  # fmt: skip
    return judges[task](subject, score.protocol), score


def _known(sort: str) -> Sort:
    for known in SORTS:
        if sort == known:
            return known
    raise UserError(f"--sort: no '{sort}'{did_you_mean(sort, SORTS)}")


def _rows(
    subject: Subject,
    judged: Judged,
    count: int | None,
    seed: int,
    index: Sequence[int] | None,
    sort: Sort,
) -> list[int]:
    """Positions of the images to show. Raises UserError."""
    available = len(judged.values)
    if sort != "random" and index is not None:
        raise UserError("--index names the images to show; leave out --sort.")
    rows = chosen_images(
        subject, count=count, usual=USUAL, seed=seed, index=index, available=available
    ).tolist()
    if sort == "random":
        return [int(row) for row in rows]
    return judged.sorted(sort)[: up_to(count, USUAL, available)]


def _scored(run: str, score: Score) -> str:
    """The score whose images these are, over all of them."""
    values = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in score.values.items()
              if math.isfinite(value)]  # fmt: skip
    where = f"all {score.num_test:,} test images"
    return f"{run}: {score.protocol} on {where}: {', '.join(values)}."
