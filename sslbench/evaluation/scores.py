"""A score: numbers with the protocol, data and encoder that they belong to. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from sslbench.errors import UserError
from sslbench.files import entries, read_json
from sslbench.typed import Real, damaged, read_as

if TYPE_CHECKING:
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.protocols import Protocol


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
    definition: str = field(repr=False)
    dataset: str
    fingerprint: str = field(repr=False)
    encoder: str = field(repr=False)
    values: Mapping[str, Real]
    chosen: Mapping[str, float] = field(default_factory=dict)
    heldout: Mapping[str, float] = field(default_factory=dict)
    num_train: int
    num_test: int
    elapsed_seconds: float
    shared: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)

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


def current_score(
    folder: RunFolder,
    protocol: Protocol,
    *,
    dataset: str,
    fingerprint: str,
    encoder: str | None = None,
) -> Score | None:
    """A run's score under a protocol as it is defined now, on a data set as it is now.

    Args:
        dataset, fingerprint: the data set's name and content.
        encoder: SHA-256 of the encoder's file; None: whatever it was.
    Returns:
        None when there is none, or it is damaged or of something else, so that it is measured
        again.
    """
    label = set_label(folder, dataset, fingerprint)
    try:
        score = load_score(folder.score_path(label, protocol.name))
    except UserError:
        return None
    found = (score.protocol, score.definition, score.fingerprint)
    same = found == (protocol.name, protocol.definition, fingerprint)
    return score if same and encoder in (None, score.encoder) else None


def set_label(folder: RunFolder, dataset: str, fingerprint: str) -> str:
    """How a run's files name a data set: its own by the name, any other by the content too, so
    that a subset of CIFAR-10 does not take the place of the whole."""
    own = folder.summary().get("fingerprint") == fingerprint
    return dataset if own else f"{dataset}-{fingerprint[:12]}"


def all_scores(
    folder: RunFolder, protocol: str = ""
) -> tuple[dict[tuple[str, str], Score], list[str]]:
    """Whatever scores lie in a run folder, by the data set's label and the protocol's name, and a
    sentence for each file that cannot be read.

    Args:
        protocol: of this one only, by its full name.
    """
    found: dict[tuple[str, str], Score] = {}
    unread: list[str] = []
    for path in entries(folder.score_path("x", "y").parent):
        if path.name.endswith(f"{protocol}.json") and not path.name.startswith("."):
            try:
                score = load_score(path)
            except UserError as error:
                unread.append(str(error))
                continue
            label = path.name.removesuffix(f".{score.protocol}.json")
            found[label, score.protocol] = score
    return found, unread


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
