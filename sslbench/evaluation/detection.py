"""Detection: the rate chosen on the held-out part, one fit, one look at the test images, and
training from scratch beside it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.detection_batches import parts
from sslbench.evaluation.detection_fits import Fits, precisions
from sslbench.evaluation.detection_kinds import Detection
from sslbench.evaluation.detectors import require_form
from sslbench.evaluation.scores import Score
from sslbench.evaluation.scratch import over_scratch, scratch_scores
from sslbench.evaluation.subject import Subject


def check(protocol: Detection, subject: Subject) -> None:
    """Raise UserError where a protocol's settings do not make sense, or not for this encoder or
    this data."""
    name, dataset = protocol.name, subject.dataset
    if min(protocol.iterations, protocol.choice_iterations, protocol.norm_batches) < 1:
        raise UserError(f"{name}: a fit, its choice and its batch norms need one batch or more.")
    require_form(subject.encoder, protocol, side=dataset.resolution)
    rest, heldout = parts(subject, protocol.max_train)
    seen = _classes(dataset.train, torch.cat([rest, heldout]))
    if not seen:
        raise UserError(
            f"{name} needs boxes, and no training image of {dataset.name} has one; use images "
            "with objects."
        )
    tested = _classes(dataset.test, torch.arange(len(dataset.test)))
    if not tested:
        raise UserError(
            f"{name} needs boxes, and no test image of {dataset.name} has one; use images with "
            "objects."
        )
    if unseen := sorted(tested - seen):
        names = ", ".join(dataset.classes[label] for label in unseen[:3])
        raise UserError(
            f"{name}: {len(unseen)} of the test images' classes are in no training image of "
            f"{dataset.name} ({names}); use more training images, or leave these classes out."
        )
    for part, where in ((rest, "beside"), (heldout, "among")):
        if len(protocol.learning_rates) > 1 and not _classes(dataset.train, part):
            raise UserError(
                f"{name} chooses its rate on held-out images, and no image of {dataset.name} "
                f"{where} them has a box; use more images."
            )


def run(protocol: Detection, subject: Subject) -> Outcome:
    """A protocol of detection on a run and a data set. What is killed goes on where it was.

    Raises:
        Interrupted: a signal; the fit was saved.
        UserError: every rate diverged, or memory ran out.
    """
    beside = scratch_scores(protocol, protocol.longer, subject)
    fits = Fits(protocol, subject)
    rest, heldout = parts(subject, protocol.max_train)
    rates = len(protocol.learning_rates)
    choosing = rates * protocol.choice_iterations if rates > 1 else 0
    fits.steps.total = choosing + protocol.iterations
    rate, chosen = fits.choose(rest, heldout)
    rows = torch.cat([rest, heldout]).sort().values
    detector, curve = fits.fitted(rows, rate, iterations=protocol.iterations)
    found = fits.found(detector, subject.dataset.test.images)
    values, verdicts = precisions(subject.dataset.test, found)
    return Outcome(
        values=values | _beside(protocol, values, beside),
        chosen={"learning_rate": rate},
        heldout=chosen,
        kept=found.arrays() | verdicts | {"curve": np.array(curve, dtype=np.float32)},
    )


def _beside(
    protocol: Detection, values: dict[str, float], found: tuple[Score, Score] | None
) -> dict[str, float]:
    """Scratch and the gains over it; with masks those of boxes and of masks."""
    if not protocol.masks:
        return over_scratch(values, "ap", found)
    named = {}
    for kind in ("box", "mask"):
        for name, value in over_scratch(values, f"{kind}_ap", found).items():
            named[f"{name}_{kind}" if name.startswith("gain") else f"{name}_{kind}_ap"] = value
    return named


def _classes(split: Split, rows: Tensor) -> set[int]:
    """Of the objects, crowds apart, in the images at some positions."""
    found = split.instances
    assert found is not None
    there = torch.isin(found.image.cpu(), rows)
    if found.crowd is not None:
        there &= ~found.crowd.cpu()
    return set(found.label.cpu()[there].tolist())
