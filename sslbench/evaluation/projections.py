"""A linear probe of what a run's projector makes of its features."""

from __future__ import annotations

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.features import Features
from sslbench.evaluation.linear import linear
from sslbench.evaluation.protocols import ProjectedLinear
from sslbench.evaluation.subject import Subject


def check(protocol: ProjectedLinear, subject: Subject) -> None:
    """Raise UserError unless the run kept a projector."""
    if not subject.projector.state_dict():
        raise UserError(
            f"{protocol.name} reads a trained projector, and {subject.folder.path.name} has none; "
            "use linear.features.v1."
        )


def run(protocol: ProjectedLinear, subject: Subject) -> Outcome:
    """`linear` on the projections of a run's features."""
    features = subject.features
    projections = Features(
        subject.project(features.train).cpu(), subject.project(features.test).cpu()
    )
    return linear(
        projections, subject.train_labels, subject.test_labels, heldout=subject.heldout,
        num_classes=subject.num_classes, protocol=protocol, device=subject.device,
    )  # fmt: skip
