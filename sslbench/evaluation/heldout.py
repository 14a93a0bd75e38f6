"""How good a run is on the held-out tenth of its training images: what studies choose by.

The probes are fitted on the other nine tenths and never see those labels; the test images are not
read. Self-supervised pre-training has seen the held-out images, as it has all training images, but
not their labels: that is so for the in-training monitor and for the choice of the probes' settings
too. The settings of the probes are chosen on the same images, so that the number is a little high,
alike for every run; it is for choosing and for nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sslbench.data import Dataset
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import complement
from sslbench.evaluation.features import encode, file_hash
from sslbench.evaluation.knn import choose
from sslbench.evaluation.linear import fit, settings_of, standardization
from sslbench.evaluation.protocols import KNN, PROTOCOLS, Linear
from sslbench.evaluation.subject import loaded_encoder
from sslbench.files import exists, read_json, write_atomically
from sslbench.typed import read_as

LINEAR, NEIGHBOURS = "linear.features.v1", "knn.v1"


@dataclass(frozen=True, kw_only=True)
class HeldoutScore:
    """One run on the held-out part of its training images.

    Attributes:
        linear, knn: top-1 in percent of the best settings of each probe; None where the features
            are not finite.
        encoder: SHA-256 of the encoder's file.
        definitions: of the two protocols.
    """

    linear: float | None
    knn: float | None
    num_train: int
    num_heldout: int
    fingerprint: str
    encoder: str
    definitions: tuple[str, str]


def heldout_path(folder: RunFolder) -> Path:
    """Where a run keeps it."""
    return folder.path / "heldout.json"


def current_heldout(folder: RunFolder) -> HeldoutScore | None:
    """A run's held-out score, if it is there and of this run, its encoder and the probes as they
    are now; None otherwise, so that it is measured again. An encoder that is gone is not asked."""
    path = heldout_path(folder)
    if not exists(path):
        return None
    try:
        score = read_as(read_json(path), HeldoutScore, where=path)
    except UserError:
        return None
    own = (score.fingerprint, score.definitions) == (
        folder.summary()["fingerprint"],
        _definitions(),
    )
    same = not exists(folder.encoder_path) or score.encoder == file_hash(folder.encoder_path)
    return score if own and same else None


def heldout_score(folder: RunFolder, dataset: Dataset, *, device: str = "cpu") -> HeldoutScore:
    """Score a finished run on the held-out part, or read the score that is there.

    Args:
        dataset: the one that it was trained on, with labels.
        device: of the encoder and the linear probe; kNN is on the CPU.
    Raises:
        UserError: the data has no labels, or the encoder's file is missing or damaged.
    """
    with folder.lock(wait=True):
        score = current_heldout(folder)
        if score is None:
            score = _measured(folder, dataset, torch.device(device))
            write_atomically(heldout_path(folder), json.dumps(asdict(score), indent=1) + "\n")
    return score


def _measured(folder: RunFolder, dataset: Dataset, device: torch.device) -> HeldoutScore:
    labels = dataset.require_labels().train.labels
    assert labels is not None
    labels, heldout, classes = labels.cpu(), dataset.heldout.cpu(), len(dataset.classes)
    encoder = loaded_encoder(
        folder, folder.experiment().recipe, resolution=dataset.resolution, mean=dataset.mean,
        std=dataset.std,
    ).to(device)  # fmt: skip
    features = encode(encoder, dataset.train.images, mean=dataset.mean, std=dataset.std)
    linear: float | None = None
    knn: float | None = None
    if bool(torch.isfinite(features).all()):
        linear = _linear(features.to(device), labels.to(device), heldout.to(device), classes)
        neighbours = PROTOCOLS[NEIGHBOURS]
        assert isinstance(neighbours, KNN)
        knn = choose(features, labels, heldout=heldout, num_classes=classes, protocol=neighbours)[2]
    return HeldoutScore(
        linear=linear, knn=knn, num_train=len(labels) - len(heldout), num_heldout=len(heldout),
        fingerprint=dataset.fingerprint, encoder=file_hash(folder.encoder_path),
        definitions=_definitions(),
    )  # fmt: skip


def _linear(x: torch.Tensor, labels: torch.Tensor, heldout: torch.Tensor, classes: int) -> float:
    """Top-1 in percent on the held-out rows of N×D features, by the best of the probe's settings:
    the first half of `linear.features.v1`, which chooses there."""
    protocol = PROTOCOLS[LINEAR]
    assert isinstance(protocol, Linear)
    rest = complement(heldout, len(x)).to(x.device)
    change = standardization(x[rest], protocol)
    sweep = fit(change(x[rest]), labels[rest], settings_of(protocol),
                num_classes=classes, protocol=protocol)  # fmt: skip
    return sweep.best(change(x[heldout]), labels[heldout])[1]


def _definitions() -> tuple[str, str]:
    return PROTOCOLS[LINEAR].definition, PROTOCOLS[NEIGHBOURS].definition
