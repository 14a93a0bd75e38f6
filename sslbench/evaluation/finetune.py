"""Fine-tuning: settings chosen on the held-out part, one fit on all images, one look at the test
images, and training from scratch beside it."""

from __future__ import annotations

import torch

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, accuracies, complement, predictions
from sslbench.evaluation.finetune_kinds import FineTune, Tuned
from sslbench.evaluation.scratch import scratch
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.tuning_fits import Choice, Tuning


def check(protocol: Tuned, subject: Subject) -> None:
    """Raise UserError where a protocol's settings do not make sense, or not for this encoder or
    this data."""
    name = protocol.name
    for decay in protocol.layer_decays:
        if not 0 < decay <= 1:
            raise UserError(f"{name}: layer decay {decay:g} must lie above 0 and be at most 1.")
    if not 0 <= protocol.warmup <= 1:
        raise UserError(
            f"{name}: a warm-up over {protocol.warmup:g} of the steps is longer than the fit, or "
            "negative; use a share from 0 to 1."
        )
    if min(protocol.epochs, protocol.choice_epochs) < 1:
        raise UserError(f"{name}: a fit needs at least one epoch.")
    if protocol.batch_size < 2:
        raise UserError(
            f"{name}: a batch of {protocol.batch_size} has no partner to be mixed with, and no "
            "spread for a batch norm; use at least 2."
        )
    fewest = len(subject.dataset.train) - len(subject.heldout)
    if fewest < 2:
        raise UserError(
            f"{name} needs at least two training images beside the held-out ones, and "
            f"{subject.dataset.name} has {fewest}; use more images."
        )


def run(protocol: FineTune, subject: Subject) -> Outcome:
    """`finetune.v1` of a run and a data set. What is killed goes on where it was.

    Raises:
        Interrupted: a signal; the fit was saved.
        UserError: every setting diverged, or memory ran out.
    """
    beside = scratch(protocol, subject)
    tuning, heldout = Tuning(protocol, subject), subject.heldout
    count = len(subject.dataset.train)
    rest = complement(heldout, count)
    tuning.steps.total = tuning.planned(count, len(rest))
    choice = tuning.choose(rest, heldout)
    scores = tuning.scores(torch.arange(count), choice.setting, subject.dataset.test.images,
                           epochs=protocol.epochs)  # fmt: skip
    values = accuracies(scores, subject.test_labels)
    return Outcome(
        values=values | _beside(values["top1"], beside),
        chosen=chosen(choice),
        heldout={} if choice.heldout is None else {"top1": choice.heldout},
        predicted=predictions(scores),
    )


def chosen(choice: Choice) -> dict[str, float]:
    """A choice as a score keeps it."""
    return dict(zip(("learning_rate", "layer_decay"), choice.setting, strict=True))


def _beside(top1: float, found: dict[str, float] | None) -> dict[str, float]:
    """Scratch and the gains over it; an untrained encoder (None) is its own."""
    found = {"scratch": top1, "scratch_total": top1} if found is None else found
    gains = {name.replace("scratch", "gain"): top1 - value for name, value in found.items()}
    return found | gains
