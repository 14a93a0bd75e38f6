"""Linear probes of a ViT's tokens."""

from __future__ import annotations

from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.linear import linear
from sslbench.evaluation.protocols import TokenLinear
from sslbench.evaluation.subject import Subject
from sslbench.models.token_reader import TokenReader


def check(protocol: TokenLinear, subject: Subject) -> None:
    """Raise UserError unless the encoder has the tokens that are read."""
    _reader(protocol, subject)


def run(protocol: TokenLinear, subject: Subject) -> Outcome:
    """`linear` on the tokens of a run's encoder."""
    features = subject.features_by(
        _reader(protocol, subject), kept_as=f"{protocol.reading}-{protocol.blocks}"
    )
    return linear(
        features, subject.train_labels, subject.test_labels, heldout=subject.heldout,
        num_classes=subject.num_classes, protocol=protocol, device=subject.device,
    )  # fmt: skip


def _reader(protocol: TokenLinear, subject: Subject) -> TokenReader:
    return TokenReader(subject.encoder, reading=protocol.reading, blocks=protocol.blocks)
