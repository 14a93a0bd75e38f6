"""Semantic segmentation by a linear probe of a frozen map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslbench.data.split import BACKGROUND, VOID, Split
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, chunks, complement
from sslbench.evaluation.confusion import confusion, miou, pixel_accuracy, pixels_by_image
from sslbench.evaluation.dense_kinds import SegmentationLinear
from sslbench.evaluation.dense_maps import (
    Pixels,
    cells_of,
    check_apart,
    check_maps,
    map_batches,
    resized,
    rows_at_once,
    statistics,
    train,
)
from sslbench.evaluation.linear import Standardization, Sweep, settings_of
from sslbench.evaluation.subject import Subject


def check(protocol: SegmentationLinear, subject: Subject) -> None:
    """Raise UserError for an encoder without a map, or maps of classes that make no sense."""
    check_maps(protocol.name, subject, protocol.level)
    check_truth(protocol.name, subject)


def check_truth(name: str, subject: Subject) -> None:
    """Raise UserError where semantic maps hold what is no class, or nothing is known of a half."""
    dataset, most = subject.dataset, len(subject.dataset.classes)
    check_apart(name, dataset.train, dataset.test)
    halves = (
        ("training", dataset.train),
        ("training (held-out)", dataset.train[dataset.heldout]),
        ("test", dataset.test),
    )
    for what, split in halves:
        counts = pixel_counts(truth_of(split))
        wrong = counts[most + 1 : VOID].nonzero().flatten()
        if len(wrong):
            raise UserError(
                f"{name}: the {what} maps hold the value {int(wrong[0]) + most + 1}, and "
                f"'{dataset.name}' has {most} classes (1 to {most}, {BACKGROUND} for none, {VOID} "
                "for void); correct the maps or the list of classes."
            )
        if not counts[:VOID].sum():
            raise UserError(
                f"{name}: all pixels of the {what} maps are void, so that there is nothing to "
                "learn or to test; give maps with classes."
            )


def truth_of(split: Split) -> Tensor:
    """uint8 N×H×W semantic maps of a split that has some."""
    maps = split.semantic_maps()
    assert maps is not None  # the protocol needs them
    return maps


def pixel_counts(maps: Tensor) -> Tensor:
    """256 int64: how many pixels have each value."""
    return torch.bincount(maps.flatten(), minlength=VOID + 1)


@dataclass(frozen=True)
class Classes:
    """The classes that can be predicted: those that the training maps have.

    Attributes:
        values: K int64, their values in the maps, ascending.
        total: classes that a confusion matrix has.
        majority: the value of the most frequent one.
    """

    values: Tensor
    total: int
    majority: int

    @classmethod
    def of(cls, maps: Tensor, num_classes: int) -> Classes:
        """Of N×H×W uint8 training maps of so many classes, background not counted."""
        counts = pixel_counts(maps)[:VOID]
        return cls(counts.nonzero().flatten(), num_classes + 1, int(counts.argmax()))

    def places(self, maps: Tensor) -> Tensor:
        """uint8 maps in which a value is its position among `values`, 255 where it is not."""
        table = torch.full((VOID + 1,), VOID, dtype=torch.uint8, device=maps.device)
        table[self.values] = torch.arange(len(self.values), dtype=torch.uint8, device=maps.device)
        return table[maps.long()]


def run(protocol: SegmentationLinear, subject: Subject) -> Outcome:
    """Choose the rate on the held-out part, fit on all training images, test once.

    Raises:
        UserError: memory does not suffice, or a map is not finite.
    """
    device = subject.device
    maps = truth_of(subject.dataset.train).to(device)
    classes = Classes.of(maps, subject.num_classes)
    places = classes.places(maps)
    cells = cells_of(subject, subject.dataset.train.images, protocol.level)
    pixels = Pixels(cells, places.long(), places != VOID)
    heldout = subject.heldout.to(device)
    rest = complement(heldout, len(maps)).to(device)

    probe = _Probe.fitted(pixels, rest, classes, settings_of(protocol), protocol)
    best, heldout_miou = probe.best(cells[heldout], maps[heldout])
    setting = settings_of(protocol)[best]
    probe = _Probe.fitted(pixels, torch.arange(len(maps), device=device), classes, [setting],
                          protocol)  # fmt: skip
    predicted = torch.cat(
        [probe.predicted(x) for x in map_batches(subject, subject.dataset.test.images,
                                                 protocol.level)]
    )  # fmt: skip
    truth = truth_of(subject.dataset.test)
    return Outcome(
        values=measured(predicted, truth, classes),
        chosen={"learning_rate": setting[0], "weight_decay": setting[1]},
        heldout={"miou": heldout_miou},
        kept=kept_maps(predicted, truth, classes),
    )


def kept_maps(predicted: Tensor, truth: Tensor, classes: Classes) -> dict[str, np.ndarray]:
    """uint8 N×H×W test maps as they are kept, and what two runs are compared by."""
    truth = truth.cpu()
    counts = pixels_by_image(truth, predicted, truth != VOID, num_classes=classes.total)
    return {"semantic": predicted.numpy(), **counts}


def measured(predicted: Tensor, truth: Tensor, classes: Classes) -> dict[str, float]:
    """`miou`, `accuracy` and `majority` of uint8 N×H×W test maps, on the CPU."""
    truth, known = truth.cpu(), truth.cpu() != VOID
    matrix = confusion(truth, predicted, known, num_classes=classes.total)
    everywhere = torch.full_like(truth, classes.majority)
    constant = confusion(truth, everywhere, known, num_classes=classes.total)
    return {
        "miou": miou(matrix), "accuracy": pixel_accuracy(matrix), "majority": miou(constant),
    }  # fmt: skip


@dataclass(frozen=True)
class _Probe:
    """S softmax regressions on the cells of a map, and the classes that they know."""

    sweep: Sweep
    change: Standardization
    classes: Classes
    side: tuple[int, int]

    @classmethod
    def fitted(
        cls, pixels: Pixels, rows: Tensor, classes: Classes, settings: list[tuple[float, float]],
        protocol: SegmentationLinear,
    ) -> _Probe:  # fmt: skip
        """Trained on the images at some int64 positions."""
        # The held-out part is unseen here too.
        change = statistics(pixels.cells[rows], protocol)
        sweep = Sweep(settings, num_features=pixels.cells.shape[3],
                      num_classes=len(classes.values), momentum=protocol.momentum,
                      device=rows.device)  # fmt: skip
        train(sweep, pixels, rows, change, protocol)
        height, width = pixels.targets.shape[1:]
        return cls(sweep, change, classes, (height, width))

    def best(self, cells: Tensor, maps: Tensor) -> tuple[int, float]:
        """The regression of the highest mIoU on n×h×w×C maps, of equal ones that of the lowest
        cross-entropy, then the first; and its mIoU."""
        count, total = len(self.sweep.settings), self.classes.total
        matrices = torch.zeros(count, total, total, dtype=torch.int64, device=cells.device)
        loss = torch.zeros(count, dtype=torch.float64, device=cells.device)
        at_once = rows_at_once(len(self.classes.values) * self.side[0] * self.side[1])
        for x, truth in zip(chunks(cells, at_once), chunks(maps, at_once), strict=True):
            places = self.classes.places(truth)
            x = self.change(x)
            for index in range(count):
                logits = self.logits(index, x)
                matrices[index] += confusion(
                    truth, self.values_of(logits), truth != VOID, num_classes=total
                )
                loss[index] += torch.nn.functional.cross_entropy(
                    logits, places.long(), ignore_index=VOID, reduction="sum"
                ).double()
        scores = [miou(matrix) for matrix in matrices]
        losses = loss.nan_to_num(nan=math.inf).tolist()
        index = max(range(count), key=lambda i: (scores[i], -losses[i], -i))
        return index, scores[index]

    def logits(self, index: int, x: Tensor) -> Tensor:
        """Of one regression n×K×H×W, of standardised n×h×w×C maps."""
        flat = self.sweep.logits_of(index, x.flatten(0, 2))
        return resized(flat.view(*x.shape[:3], -1), self.side)

    def values_of(self, logits: Tensor) -> Tensor:
        """uint8 n×H×W maps of n×K×H×W logits."""
        return self.classes.values.to(torch.uint8)[logits.argmax(1)]

    def predicted(self, cells: Tensor) -> Tensor:
        """uint8 n×H×W maps of n×h×w×C maps by the only regression, on the CPU."""
        at_once = rows_at_once(len(self.classes.values) * self.side[0] * self.side[1])
        parts = [self.values_of(self.logits(0, self.change(x))) for x in chunks(cells, at_once)]
        return torch.cat(parts).cpu()
