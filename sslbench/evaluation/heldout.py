"""How good a run is on training images that its probes are not fitted on: what studies choose by.

Where a run takes a part of a set (`data.num_train`), these are training images that it left out,
up to 10,000; otherwise the held-out tenth of its own, which of 8,000 images is too few to tell
settings apart that differ by a point. The probes never see their labels, and the test images are
not read.
Self-supervised pre-training has seen a held-out tenth, as it has all of its training images, but
not their labels. The settings of the probes are chosen on the same images, so that the number is a
little high, alike for every run; it is for choosing and for nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from sslbench.data import Dataset, Split, unused_images
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
MOST = 10_000  # a standard error of half a point


@dataclass(frozen=True, kw_only=True)
class HeldoutScore:
    """One run on images that it was not fitted on.

    Attributes:
        linear, knn: top-1 in percent of the best settings of each probe; None where the features
            are not finite.
        num_train, num_heldout: images that the probes were fitted, and compared, on.
        images: what it was compared on, training images that it left out or a tenth of its own.
        encoder: SHA-256 of the encoder's file.
        definitions: of the two protocols.
    """

    linear: float | None
    knn: float | None
    num_train: int
    num_heldout: int
    images: Literal["left out", "tenth"]
    fingerprint: str
    encoder: str
    definitions: tuple[str, str]


def heldout_path(folder: RunFolder) -> Path:
    """Where a run keeps it."""
    return folder.path / "heldout.json"


def current_heldout(folder: RunFolder) -> HeldoutScore | None:
    """A run's held-out score, if it is there and of this run, its encoder, the images and the
    probes as they are now; None otherwise, so that it is measured again. An encoder that is gone is
    not asked."""
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


def heldout_score(
    folder: RunFolder, dataset: Dataset, *, root: Path, device: str = "cpu"
) -> HeldoutScore:
    """Score a finished run on images left out, or read the score that is there.

    Args:
        dataset: the one that it was trained on, with labels.
        root: where data sets lie, for the images that it left out.
        device: of the encoder and the linear probe; kNN is on the CPU.
    Raises:
        UserError: the data has no labels, or the encoder's file is missing or damaged.
    """
    with folder.lock(wait=True):
        score = current_heldout(folder)
        if score is None:
            unused = unused_images(folder.experiment().data, root=root, most=MOST)
            score = _measured(folder, dataset, unused, torch.device(device))
            write_atomically(heldout_path(folder), json.dumps(asdict(score), indent=1) + "\n")
    return score


def _measured(
    folder: RunFolder, dataset: Dataset, unused: Split | None, device: torch.device
) -> HeldoutScore:
    train, heldout = dataset.require_labels().train, dataset.heldout.cpu()
    halves, labels, classes = [train.images], train.labels, len(dataset.classes)
    assert labels is not None
    if unused is not None:
        assert unused.labels is not None
        heldout = torch.arange(len(train), len(train) + len(unused))
        halves.append(unused.images)
        labels = torch.cat([labels, unused.labels.to(labels.device)])
    labels = labels.cpu()
    encoder = loaded_encoder(
        folder, folder.experiment().recipe, resolution=dataset.resolution, mean=dataset.mean,
        std=dataset.std,
    ).to(device)  # fmt: skip
    features = torch.cat([
        encode(encoder, images, mean=dataset.mean, std=dataset.std) for images in halves
    ])  # fmt: skip
    linear: float | None = None
    knn: float | None = None
    if bool(torch.isfinite(features).all()):
        linear = _linear(features.to(device), labels.to(device), heldout.to(device), classes)
        neighbours = PROTOCOLS[NEIGHBOURS]
        assert isinstance(neighbours, KNN)
        knn = choose(features, labels, heldout=heldout, num_classes=classes, protocol=neighbours)[2]
    return HeldoutScore(
        linear=linear, knn=knn, num_train=len(labels) - len(heldout), num_heldout=len(heldout),
        images="tenth" if unused is None else "left out", fingerprint=dataset.fingerprint,
        encoder=file_hash(folder.encoder_path), definitions=_definitions(),
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
