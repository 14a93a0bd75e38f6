"""What the fits of all protocols that train share: their progress, their names, and what happens
where every one of them diverges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sslbench.engine.progress import Progress
from sslbench.errors import UserError
from sslbench.evaluation.features import file_hash
from sslbench.evaluation.protocol import Protocol
from sslbench.evaluation.subject import Subject


@dataclass
class Steps:
    """How many steps of all fits of a score are done, for the progress that is shown."""

    total: int = 0
    done: int = 0

    def watch(self, subject: Subject) -> Progress:
        """What a fit that begins now is to call: it tells the subject's of all fits together."""
        begun = self.done

        def progress(step: int, steps: int, metrics: Mapping[str, float]) -> None:
            self.done = begun + step
            if subject.progress is not None:
                subject.progress(self.done, max(self.total, self.done), metrics)

        return progress


def fit_name(protocol: Protocol, subject: Subject, rows: Tensor, *more: object) -> str:
    """What a fit on some rows of the training images is of, as 16 hex digits.

    Args:
        more: whatever else decides it: seed, rate, length.
    """
    parts = (
        protocol.definition, file_hash(subject.folder.encoder_path), subject.dataset.fingerprint,
        subject.mean, subject.std, *more, hashlib.sha256(rows.cpu().numpy().tobytes()).hexdigest(),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def all_diverged(protocol: Protocol, subject: Subject) -> UserError:
    """The error of a choice among fits of which none is left."""
    return UserError(
        f"Every fit of {protocol.name} on {subject.folder.path.name} has diverged, at all rates: "
        "the encoder's own training may have; see its verdict."
    )
