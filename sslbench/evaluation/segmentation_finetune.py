"""Semantic segmentation, fine-tuned: settings chosen on the held-out part, one fit, one look at the
test images, and training from scratch beside it."""

from __future__ import annotations

import numpy as np
import torch

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, complement
from sslbench.evaluation.dense_kinds import SegmentationFineTune
from sslbench.evaluation.dense_maps import check_maps
from sslbench.evaluation.finetune import chosen
from sslbench.evaluation.scratch import over_scratch, scratch_scores
from sslbench.evaluation.segmentation import check_truth, kept_maps, measured, truth_of
from sslbench.evaluation.segmentation_fits import SegmentationFits
from sslbench.evaluation.subject import Subject


def check(protocol: SegmentationFineTune, subject: Subject) -> None:
    """Raise UserError where a protocol's settings do not make sense, or not for this encoder or
    this data."""
    name = protocol.name
    for decay in protocol.layer_decays:
        if not 0 < decay <= 1:
            raise UserError(f"{name}: layer decay {decay:g} must lie above 0 and be at most 1.")
    if not 0 <= protocol.warmup <= 1:
        raise UserError(f"{name}: a warm-up of {protocol.warmup:g} must be a share from 0 to 1.")
    if min(protocol.iterations, protocol.choice_iterations) < 1:
        raise UserError(f"{name}: a fit needs at least one iteration.")
    fewest = len(subject.dataset.train) - len(subject.heldout)
    if min(protocol.batch_size, fewest) < 2:
        raise UserError(
            f"{name}: a batch norm needs batches of two images or more, and there are "
            f"{fewest} beside the held-out ones, in batches of {protocol.batch_size}; use more."
        )
    check_maps(name, subject)
    check_truth(name, subject)


def run(protocol: SegmentationFineTune, subject: Subject) -> Outcome:
    """`segmentation.finetune.v1` of a run and a data set. What is killed goes on where it was.

    Raises:
        Interrupted: a signal; the fit was saved.
        UserError: every setting diverged, or memory ran out.
    """
    beside = scratch_scores(protocol, protocol.longer, subject)
    fits, heldout = SegmentationFits(protocol, subject), subject.heldout
    dataset = subject.dataset
    rest = complement(heldout, len(dataset.train))
    fits.steps.total = fits.planned()
    choice = fits.choose(rest, heldout)
    module, curve = fits.fitted(
        torch.arange(len(dataset.train)), choice.setting, iterations=protocol.iterations
    )
    predicted = fits.predicted(module, dataset.test.images)
    truth = truth_of(dataset.test)
    values = measured(predicted, truth, fits.classes)
    return Outcome(
        values=values | over_scratch(values, "miou", beside),
        chosen=chosen(choice),
        heldout={} if choice.heldout is None else {"miou": choice.heldout},
        kept=kept_maps(predicted, truth, fits.classes)
        | {"curve": np.array(curve, dtype=np.float32)},
    )
