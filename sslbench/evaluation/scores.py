"""A score: numbers with the protocol, data and encoder that they belong to. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from sslbench.errors import UserError
from sslbench.files import read_json
from sslbench.typed import Real, damaged, read_as


@dataclass(frozen=True, kw_only=True)
class Score:
    """One encoder on one data set under one protocol.

    Attributes:
        definition: hash of the protocol's settings.
        fingerprint: of the data set.
        encoder: SHA-256 of the encoder's file.
        values: what was measured on the test set; accuracies in percent.
        chosen: settings picked on the held-out part of the training set.
        heldout: what the chosen settings gave there; accuracies in percent.
        elapsed_seconds: with the features, where they were not cached.
        shared: how many test images are also training images, pixel by pixel; None in scores that
            are older than the count.
        inputs: `resolution`, `mean` and `std` of the images that the encoder saw; empty in scores
            of before they were kept.
        source: of an imported encoder, the file's `name`, its `layout` and `prefix`, how many
            tensors were `loaded` and how many `ignored`, the `first_ignored`, and `notes`.
    """

    protocol: str
    definition: str
    dataset: str
    fingerprint: str
    encoder: str
    values: Mapping[str, Real]
    chosen: Mapping[str, float] = field(default_factory=dict)
    heldout: Mapping[str, float] = field(default_factory=dict)
    num_train: int
    num_test: int
    elapsed_seconds: float
    shared: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return dataclasses.asdict(self)


class Inputs(TypedDict):
    """`Score.inputs`, where they are known."""

    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Source(TypedDict):
    """`Score.source` of an imported encoder."""

    name: str
    layout: str
    prefix: str
    loaded: int
    ignored: int
    first_ignored: tuple[str, ...]
    notes: tuple[str, ...]


def load_score(path: Path) -> Score:
    """The score in a file. Raises UserError: missing, damaged, or of another version."""
    remedy = "measure it again with `sslbench eval --force`"
    score = read_as(read_json(path), Score, where=path, remedy=remedy)
    for found, cls in ((score.inputs, Inputs), (score.source, Source)):
        if found:
            read_as(found, cls, where=path, remedy=remedy)
    if score.source and not score.inputs:
        raise damaged(path, UserError("'inputs' is missing"), remedy)
    return score


def read_score(path: Path) -> Score | None:
    """The score in a file; None when there is none, or it is damaged or of another version, so
    that it is measured again."""
    try:
        return load_score(path)
    except UserError:
        return None


def comparable(a: Score, b: Score) -> None:
    """Return when two scores may stand side by side.

    Raises:
        UserError: another protocol, other settings of it, or another data set.
    """
    if a.protocol != b.protocol:
        raise UserError(
            f"{a.protocol} and {b.protocol} are different measurements; compare scores of one "
            "protocol."
        )
    if a.definition != b.definition:
        raise UserError(
            f"The two {a.protocol} scores were measured with different settings ({a.definition}, "
            f"{b.definition}); run `sslbench eval --force` on the older one."
        )
    if a.fingerprint != b.fingerprint:
        raise UserError(
            f"The scores are on different data ({a.dataset} {a.fingerprint[:12]}, {b.dataset} "
            f"{b.fingerprint[:12]}); evaluate both runs on one data set."
        )
