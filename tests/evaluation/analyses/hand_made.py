"""A run with predictions that were written by hand, and the score that they belong to."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sslbench.data import Instances, Split
from sslbench.engine.folder import RunFolder
from sslbench.evaluation.features import file_hash
from sslbench.evaluation.scores import Score
from sslbench.evaluation.subject import Subject

CLASSES = ("cat", "dog", "cow")


def split(**changes: Any) -> Split:
    """Four images of 16 pixels: a cat and a dog; a cow; a crowd of dogs; nothing."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    box = torch.tensor([[1.0, 1, 7, 7], [8, 2, 15, 12], [4, 4, 12, 12], [0, 0, 16, 8]])
    found = Instances(
        image=torch.tensor([0, 0, 1, 2]),
        box=box,
        label=torch.tensor([0, 1, 2, 1]),
        mask=masks(box.numpy()),
        crowd=torch.tensor([False, False, False, True]),
    )
    own = Split(
        images=images,
        instances=found,
        depth=torch.linspace(1, 3, 4 * 256).reshape(4, 16, 16),
        multilabels=torch.tensor([[1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]).bool(),
    )
    return dataclasses.replace(own, **changes)


def masks(box: np.ndarray) -> torch.Tensor:
    """Filled boxes: bool M×16×16."""
    out = torch.zeros(len(box), 16, 16, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(out, box.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    return out


def detections(*found: tuple[int, tuple[float, ...], float, int]) -> dict[str, np.ndarray]:
    """Kept arrays of (image, box, score, label), with their masks."""
    box = np.array([one[1] for one in found], np.float32).reshape(-1, 4)
    filled = masks(box).numpy()
    return {
        "det_image": np.array([one[0] for one in found], np.int32),
        "det_box": box,
        "det_score": np.array([one[2] for one in found], np.float32),
        "det_label": np.array([one[3] for one in found], np.int32),
        "det_mask": np.packbits(filled),
        "det_mask_shape": np.array(filled.shape, np.int32),
    }


def with_test(subject: Subject, test: Split, folder: Path, classes: Any = CLASSES) -> Subject:
    """The run, copied to a folder, on other test images."""
    copy = folder / subject.folder.path.name
    if not copy.exists():
        shutil.copytree(subject.folder.path, copy)
    dataset = dataclasses.replace(subject.dataset, test=test, classes=classes)
    return dataclasses.replace(subject, dataset=dataset, folder=RunFolder(copy))


def keep(subject: Subject, protocol: str, values: Any = None, **arrays: np.ndarray) -> None:
    """Write a score and the arrays beside it."""
    score = Score(
        protocol=protocol,
        definition="by-hand",
        dataset=subject.dataset.name,
        fingerprint=subject.dataset.fingerprint,
        encoder=file_hash(subject.folder.encoder_path),
        values=values or {"ap": 12.5},
        num_train=96,
        num_test=len(subject.dataset.test),
        elapsed_seconds=1.0,
    )
    for path in (
        subject.folder.score_path(subject.label, protocol),
        subject.folder.predictions_path(subject.label, protocol),
    ):
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(score.to_dict()))
        elif arrays:
            np.savez_compressed(path, **arrays)
