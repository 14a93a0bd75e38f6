"""Segmentation, frozen and fine-tuned, beside the loops that one would write: images per second.

    python benchmarks/segmentation.py

The same untrained encoder of scale `laptop`, the same built-in scenes, one process, no workers.
The plain loops are those of torchvision's segmentation reference: a DataLoader over PIL images and
maps with its transforms, the model, the loss of all pixels, an optimiser. Frozen, an image counts
once for each epoch and each learning rate: the plain loop runs the encoder every time and trains
one rate, ours encodes once and trains all rates of `segmentation.linear.v1`, on some pixels of an
image, as the protocol does. Fine-tuned, both do the same work: head, crops, optimiser and batch.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision.transforms.v2 as T
from bench import Measure, Record, Round, interleave, machine, options, prepare
from clock import Clock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import to_pil_image

from sslbench.engine.pretrain import Options, pretrain
from sslbench.evaluation.dense_kinds import SegmentationFineTune, SegmentationLinear
from sslbench.evaluation.dense_maps import Pixels, cells_of, statistics, train
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.linear import Plan, Sweep, settings_of
from sslbench.evaluation.protocols import find_protocol
from sslbench.evaluation.segmentation import Classes, truth_of
from sslbench.evaluation.segmentation_fits import SegmentationFits
from sslbench.evaluation.subject import Subject
from sslbench.models.maps import last_map
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Scenes

SETTING = (4e-3, 1.0)  # rate and layer decay; they do not matter for the speed


class Pictures(TorchDataset[tuple[Tensor, Tensor]]):
    """PIL images and maps, with transforms of both."""

    def __init__(self, images: Tensor, maps: Tensor, transform: Callable[..., Any]) -> None:
        self.images = [to_pil_image(image) for image in images]
        self.maps, self.transform = maps, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.transform(self.images[index], tv_tensors.Mask(self.maps[index]))
        return image, label.long()


def transforms(subject: Subject, *augmentation: nn.Module) -> T.Compose:
    """As torchvision's reference has them."""
    return T.Compose([
        *augmentation, T.ToImage(), T.ToDtype(torch.float32, scale=True),
        T.Normalize(subject.mean, subject.std),
    ])  # fmt: skip


def plain_probe(subject: Subject, maps: Tensor, *, batch: int) -> Callable[[], Round]:
    """One epoch of one rate, through the frozen encoder."""
    images = subject.dataset.train.images
    data = Pictures(images, maps, transforms(subject))
    with torch.no_grad():
        channels = last_map(subject.encoder, torch.zeros(1, 3, *images.shape[2:])).shape[1]
    probe = nn.Sequential(nn.BatchNorm2d(channels, affine=False), nn.Conv2d(channels, 11, 1))
    optimizer = torch.optim.SGD(probe.parameters(), lr=0.1, momentum=0.9)

    def run() -> Round:
        with Clock() as clock:
            for x, target in DataLoader(data, batch, shuffle=True):
                with torch.no_grad():
                    found = last_map(subject.encoder, x)
                logits = F.interpolate(probe(found), size=x.shape[2:], mode="bilinear")
                optimizer.zero_grad()
                F.cross_entropy(logits, target, ignore_index=255).backward()
                optimizer.step()
        return {**clock.result(), "count": len(data)}

    return run


def our_probe(subject: Subject, maps: Tensor, protocol: SegmentationLinear) -> Callable[[], Round]:
    """All epochs of all rates, encoding included."""
    settings, count = settings_of(protocol), len(maps)
    classes = Classes.of(maps, subject.num_classes)

    def run() -> Round:
        with Clock() as clock:
            places = classes.places(maps)
            cells = cells_of(subject, subject.dataset.train.images, protocol.level)
            pixels = Pixels(cells, places.long(), places != 255)
            sweep = Sweep(settings, num_features=cells.shape[3], num_classes=len(classes.values),
                          momentum=protocol.momentum, device=cells.device)  # fmt: skip
            train(sweep, pixels, torch.arange(count), statistics(cells, protocol), protocol)
        epochs = Plan.of(count, protocol).epochs
        return {**clock.result(), "count": count * epochs * len(settings)}

    return run


def plain_tuning(fits: SegmentationFits, maps: Tensor, *, steps: int) -> Callable[[], Round]:
    """Steps of the same network, batch and optimiser."""
    subject, protocol = fits.subject, fits.protocol
    side = subject.dataset.resolution
    data = Pictures(
        subject.dataset.train.images, maps,
        transforms(subject, T.RandomResizedCrop(side, scale=protocol.crop_scale, antialias=True),
                   T.RandomHorizontalFlip(protocol.flip)),
    )  # fmt: skip
    module = fits._start()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2.5e-4, fused=True)
    loader = DataLoader(data, protocol.batch_size, shuffle=True, drop_last=True)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    def run() -> Round:
        with Clock() as clock:
            for x, target in itertools.islice(batches(), steps):
                optimizer.zero_grad()
                F.cross_entropy(module(x), target, ignore_index=255).backward()
                optimizer.step()
        return {**clock.result(), "count": steps * protocol.batch_size}

    return run


def our_tuning(fits: SegmentationFits, *, steps: int) -> Callable[[], Round]:
    """A fit of as many steps, its start included."""
    rows = torch.arange(len(fits.images))

    def run() -> Round:
        with Clock() as clock:
            fits.fitted(rows, SETTING, iterations=steps)
        return {**clock.result(), "count": steps * fits.protocol.batch_size}

    return run


def subject_of(folder: Path, num_train: int) -> Subject:
    """An untrained encoder on scenes."""
    data = Scenes(num_train=num_train, num_test=16)
    found = resolve("untrained", scale="laptop", layers=[], data=data, seed=0)
    run = pretrain(found.experiment, provenance={}, runs=folder, root=folder,
                   options=Options(device="cpu", threads=torch.get_num_threads()))  # fmt: skip
    return open_subject(run, root=folder, labelled=False)


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    num_train, steps = (256, 4) if chosen.quick else (1024, 40)
    linear, tuned = (find_protocol(f"segmentation.{kind}.v1") for kind in ("linear", "finetune"))
    assert isinstance(linear, SegmentationLinear)
    assert isinstance(tuned, SegmentationFineTune)
    with tempfile.TemporaryDirectory() as scratch:
        subject = subject_of(Path(scratch), num_train)
        maps = truth_of(subject.dataset.train)
        fits = SegmentationFits(tuned, subject)
        frozen, unit = "linear probe, an image in an epoch at a rate", "images"
        fitted = "fine-tuning, an image in a step"
        plain = Measure(frozen, "plain loop", unit)
        ours = Measure(frozen, "sslbench, all rates", unit)
        plain_fit = Measure(fitted, "plain loop", unit)
        our_fit = Measure(fitted, "sslbench", unit)
        record = Record("segmentation", chosen.quick, machine(None),
                        {"images": num_train, "steps": steps})  # fmt: skip
        record.measures = [
            *interleave([(plain, plain_probe(subject, maps, batch=linear.batch_size)),
                         (ours, our_probe(subject, maps, linear))], rounds=chosen.rounds),
            *interleave([(plain_fit, plain_tuning(fits, maps, steps=steps)),
                         (our_fit, our_tuning(fits, steps=steps))], rounds=chosen.rounds),
        ]  # fmt: skip
        ours.note = f"{ours.times(plain):.2f} times the plain loop"
        our_fit.note = f"{our_fit.times(plain_fit):.2f} times the plain loop"
        record.finish()


if __name__ == "__main__":
    main()
