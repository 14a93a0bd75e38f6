"""An iteration of a detector's fit, beside torchvision's own loop with the same network.

    python benchmarks/detection.py

Both train a Faster R-CNN on a pyramid, or a Mask R-CNN, around the same narrow ResNet on 64-pixel
scenes in batches of 8 by SGD, on one thread. torchvision's is the loop of its detection reference:
a `DataLoader` that turns pictures into tensors and mirrors half of them, lists of images and
targets, its own transform (told to keep the size), the loss read at every iteration. Ours is the
protocol's `Fit`: images on the device, mirrored in the batch, the loss read fifty times a fit.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench import Measure, Record, Round, interleave, machine, options, prepare
from clock import Clock
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

from sslbench.engine.pretrain import Options, pretrain
from sslbench.evaluation.detection_fits import Fits
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.layers import rate_groups
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.subject import Subject
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Scenes

NAMES = {"Faster R-CNN": "detection.v1", "Mask R-CNN": "instance.v1"}
TORCHVISION = "torchvision's loop"
RATE = 0.01


class Pictures(torch.utils.data.Dataset[Any]):
    """Scenes as a data set of torchvision's reference has them: a picture and a dictionary."""

    def __init__(self, fits: Fits) -> None:
        train = fits.train
        self.pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in train.images]
        assert train.instances is not None
        self.objects = [
            train.instances.of(torch.tensor([i]), len(train)) for i in range(len(train))
        ]
        self.masks = fits.protocol.masks
        self.transforms = v2.Compose(
            [v2.RandomHorizontalFlip(0.5), v2.ToImage(), v2.ToDtype(torch.float, scale=True),
             v2.ToPureTensor()]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        picture, found = self.pictures[index], self.objects[index]
        side = picture.size[::-1]
        boxes = tv_tensors.BoundingBoxes(found.box, format="XYXY", canvas_size=side)  # type: ignore[call-overload]
        target = {"boxes": boxes, "labels": found.label + 1}
        if self.masks:
            assert found.mask is not None
            target["masks"] = tv_tensors.Mask(found.mask.to(torch.uint8))
        return self.transforms(picture, target)


def collate(batch: list[Any]) -> tuple[Any, ...]:
    """As torchvision's reference does."""
    return tuple(zip(*batch, strict=True))


def theirs(fits: Fits, steps: int) -> Callable[[], Round]:
    """Rounds of torchvision's reference loop."""
    subject, detector = fits.subject, fits._start()
    side = subject.dataset.resolution
    detector.transform = GeneralizedRCNNTransform(side, side, list(subject.mean),
                                                  list(subject.std))  # fmt: skip
    optimizer = torch.optim.SGD(detector.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(Pictures(fits), batch_size=fits.protocol.batch_size, shuffle=True,
                        drop_last=True, collate_fn=collate)  # fmt: skip

    def run() -> Round:
        done = 0
        with Clock() as clock:
            while done < steps:
                for images, targets in loader:
                    losses = sum(detector(list(images), list(targets)).values())
                    assert math.isfinite(losses.item())
                    optimizer.zero_grad()
                    losses.backward()
                    optimizer.step()
                    done += 1
                    if done == steps:
                        break
        return {**clock.result(), "count": steps}

    return run


def ours(fits: Fits, steps: int) -> Callable[[], Round]:
    """Rounds of the protocol's own fit, without its choice and its batch norms' last pass."""
    detector = fits._start()
    batches = fits.batches(torch.arange(len(fits.train)))
    groups = rate_groups(detector, None, rate=RATE, decay=1.0, weight_decay=1e-4)
    optimizer = torch.optim.SGD(groups, momentum=0.9, fused=True)

    def run() -> Round:
        with tempfile.TemporaryDirectory() as folder:
            fit = fits.fit(detector, optimizer, batches, steps=steps, path=Path(folder) / "fit.pt")
            with Clock() as clock:
                fit.run()
        return {**clock.result(), "count": steps}

    return run


def subject_of(scratch: Path, *, images: int) -> Subject:
    """An untrained narrow ResNet of scale `laptop` on scenes."""
    encoder = {"encoder": {"kind": "NarrowResNet"}}
    experiment = resolve(
        "untrained", scale="laptop", layers=[("--set", encoder)],
        data=Scenes(num_train=images, num_test=10),
    ).experiment  # fmt: skip
    folder = pretrain(experiment, provenance={}, runs=scratch, root=scratch,
                      options=Options(device="cpu", threads=1))  # fmt: skip
    return open_subject(folder, root=scratch, labelled=False)


def measure(name: str, subject: Subject, chosen: argparse.Namespace) -> list[Measure]:
    """The contestants of one network."""
    fits = Fits(PROTOCOLS[NAMES[name]], subject)  # type: ignore[arg-type]
    steps = 2 if chosen.quick else 20
    contestants = [
        (Measure(name, TORCHVISION, "iterations"), theirs(fits, steps)),
        (Measure(name, "sslbench", "iterations"), ours(fits, steps)),
    ]
    found = interleave(contestants, rounds=chosen.rounds)
    found[1].note = f"{found[1].times(found[0]):.2f} x {TORCHVISION}"
    return found


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    torch.set_num_threads(1)
    record = Record("detection", chosen.quick, machine(None), {"batch": 8, "resolution": 64})
    with tempfile.TemporaryDirectory() as scratch:
        subject = subject_of(Path(scratch), images=80 if chosen.quick else 400)
        for name in NAMES:
            record.measures += measure(name, subject, chosen)
    record.finish()


if __name__ == "__main__":
    main()
