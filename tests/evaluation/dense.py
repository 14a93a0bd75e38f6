"""A subject whose encoder and maps a test makes by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.data import Dataset
from sslbench.data.split import Split
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.subject import Subject
from tests.evaluation.conftest import finished

SIDE = 16


class Stages(nn.Module):
    """Gives the maps that a function makes of images; the interface is timm's."""

    def __init__(self, *readings) -> None:
        super().__init__()
        self.readings = readings

    def forward_intermediates(self, images: Tensor, **_) -> list[Tensor]:
        """N×C×h×w of each reading."""
        return [reading(images) for reading in self.readings]


def blocks(generator: torch.Generator, count: int, classes: int, *, cells: int = 4) -> Tensor:
    """uint8 N×16×16 maps of whole cells."""
    small = torch.randint(0, classes, (count, cells, cells), generator=generator)
    return small.repeat_interleave(SIDE // cells, 1).repeat_interleave(SIDE // cells, 2).byte()


def grey(values: Tensor) -> Tensor:
    """uint8 N×3×16×16 images of uint8 N×16×16 values."""
    return values[:, None].expand(-1, 3, -1, -1).contiguous()


def dataset_of(train: Split, test: Split, classes: int, *, name: str = "maps") -> Dataset:
    """A tenth of the training images is held out."""
    return Dataset(
        name=name, classes=tuple(f"class {i}" for i in range(classes)), train=train, test=test,
        heldout=torch.arange(0, len(train), 10), unlabelled=None, mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0), fingerprint="f" * 64, resolution=train.images.shape[-1],
    )  # fmt: skip


def subject_of(folder: Path, dataset: Dataset, encoder: nn.Module | None = None) -> Subject:
    """Raw pixels on that data, or another encoder in their place."""
    run = finished("raw-pixels", folder)
    subject = open_subject(run, root=folder)
    found = dataclasses.replace(subject, dataset=dataset, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if encoder is not None:
        found.__dict__["encoder"] = encoder.eval()
    return found
