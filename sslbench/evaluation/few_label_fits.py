"""Fine-tuning on few labels: the subsets of `few_labels`, each with a fit of its own."""

from __future__ import annotations

from torch import Tensor

from sslbench.errors import UserError
from sslbench.evaluation import finetune
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.few_labels import Drawn, over_draws, require_fraction, subset
from sslbench.evaluation.finetune_kinds import FewLabelFineTune
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.tuning_fits import Tuning


def check(protocol: FewLabelFineTune, subject: Subject) -> None:
    """Raise UserError for settings that do not make sense, or a class with too few labels."""
    finetune.check(protocol, subject)
    for fraction in protocol.fractions:
        require_fraction(subject.train_labels, fraction, classes=subject.dataset.classes, least=2)


def run(protocol: FewLabelFineTune, subject: Subject) -> Outcome:
    """Mean and standard deviation over the draws of the test accuracy, for each fraction. What is
    killed goes on where it was.

    Raises:
        Interrupted: a signal; the fit was saved.
        UserError: a draw's fits diverged, or memory ran out.
    """
    labels = subject.train_labels
    drawn = {
        f"{100 * fraction:g}": [
            subset(labels, fraction, seed=protocol.draw_seed, folds=protocol.folds, draw=draw)
            for draw in range(protocol.draws)
        ]
        for fraction in protocol.fractions
    }
    tuning = Tuning(protocol, subject)
    tuning.steps.total = sum(
        tuning.planned(len(rows), int((parts != 0).sum()))
        for draws in drawn.values()
        for rows, parts in draws
    )
    return over_draws(
        {name: [_drawn(tuning, *draw) for draw in draws] for name, draws in drawn.items()}
    )


def _drawn(tuning: Tuning, rows: Tensor, parts: Tensor) -> Drawn:
    """A choice among n labels, and a fit on all of them, judged on the test images."""
    protocol, subject = tuning.protocol, tuning.subject
    choice = tuning.choose(rows[parts != 0], rows[parts == 0])
    judged = tuning.judged(rows, choice.setting, subject.dataset.test.images, subject.test_labels,
                           epochs=protocol.epochs)  # fmt: skip
    if not judged:
        raise UserError(
            f"{protocol.name}: a fit on {len(rows)} labels has diverged at the rate chosen for it, "
            f"{choice.setting[0]:g}; the encoder's own training may have: see its verdict."
        )
    return Drawn(judged["top1"], choice.setting[0], choice.heldout)
