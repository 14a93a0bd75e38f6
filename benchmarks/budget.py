"""Accuracy against core-minutes: what images, epochs, width and batch make of the same minute.

    python benchmarks/budget.py

SimCLR, BYOL and SwAV on CIFAR-10, from the `laptop` settings. Every point is an ordinary run of one
thread, found again when it is there. Cost is the CPU time of training (the data's reading with it),
whatever else the machine does. Accuracy is of the held-out tenth of the training images, under the
same 45,000 labels for every point, however many images it was trained on; no point sees the test
images. Writes results/benchmarks/<device class>/budget.json and budget.svg.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from bench import HERE, RESULTS, machine

from sslbench.api import pretrain
from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import run_folder
from sslbench.evaluation.accuracy import complement
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.features import encode
from sslbench.evaluation.knn import choose
from sslbench.evaluation.linear import fit, settings_of, standardization
from sslbench.evaluation.protocols import KNN, Linear, find_protocol
from sslbench.files import write_atomically
from sslbench.recipes.specs import ImageSet
from sslbench.requests import resolved

ALL = ImageSet(name="cifar10", resolution=32)
STEP_MOMENTUM, STEP_BATCH = 0.8, 64  # BYOL's at `laptop`: a target follows by the step


@dataclass(frozen=True)
class Point:
    """One run: so many training images, epochs, channels of the stem, images a step."""

    recipe: str
    images: int
    epochs: int
    width: int = 16
    batch: int = 64

    @property
    def changes(self) -> dict[str, Any]:
        """What it changes of the recipe at `laptop`. The warm-up keeps its share of the run; the
        rate follows the batch, as the recipes' `scaling: linear` has it."""
        out: dict[str, Any] = {
            "data.num_train": self.images,
            "epochs": self.epochs,
            "schedule.warmup_epochs": round(self.epochs / 12, 4),
            "encoder.width": self.width,
            "batch_size": self.batch,
        }
        if self.recipe == "byol":
            momentum = STEP_MOMENTUM ** (self.batch / STEP_BATCH)
            out["target.momentum"] = round(momentum, 4)
        return out


def points() -> Iterator[Point]:
    """Equal cost first, then twice, four and eight times of it; the widest spread of choices for
    SimCLR, the cheapest."""
    for recipe in ("simclr", "byol", "swav"):
        yield Point(recipe, 8_000, 12)
        yield Point(recipe, 16_000, 6)
        yield Point(recipe, 50_000, 2)
        yield Point(recipe, 50_000, 2, batch=128)
        yield Point(recipe, 50_000, 1, width=32)
    yield Point("simclr", 32_000, 3)
    yield Point("simclr", 50_000, 2, batch=256)
    yield Point("simclr", 32_000, 2, width=24)
    yield Point("simclr", 16_000, 3, width=32)
    for recipe in ("simclr", "byol", "swav"):
        yield Point(recipe, 50_000, 4)
        yield Point(recipe, 50_000, 2, width=32)
    yield Point("simclr", 50_000, 8)
    yield Point("simclr", 50_000, 4, width=32)
    yield Point("simclr", 50_000, 8, width=32)
    yield Point("simclr", 50_000, 3, width=64)
    yield Point("byol", 50_000, 4, width=32)
    yield Point("swav", 50_000, 4, width=32)


@dataclass(frozen=True)
class Measured:
    """A point's cost in core-minutes, and its accuracy in percent on the held-out part of all
    training images; `monitor` is the kNN monitor's last, on that of its own."""

    point: Point
    run: str
    minutes: float
    scoring_minutes: float
    linear: float
    knn: float
    monitor: float
    loss: float


class Ledger:
    """CPU seconds of training by run, kept beside the runs: one that goes on adds to its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Add what the block takes of this process's CPU time, also where it is stopped."""
        before = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - before
            write_atomically(self.path, json.dumps(self.seconds, indent=1) + "\n")


def main() -> None:
    """Train what is missing, score it, write after every point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=HERE.parent / "data")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "budget")
    chosen = parser.parse_args()
    hardware.prepare_process(1)
    images = load(ALL, root=chosen.data_root)
    ledger = Ledger(chosen.runs / "cpu-seconds.json")
    measured: list[Measured] = []
    for point in points():
        found = measure(point, images, ledger, root=chosen.data_root)
        measured.append(found)
        print(json.dumps({**asdict(found.point), **asdict(found)} | {"point": None}), flush=True)
        write(measured)


def measure(point: Point, images: Dataset, ledger: Ledger, *, root: Path) -> Measured:
    """Train a point, or find it, and judge its encoder."""
    runs = ledger.path.parent
    asked = resolved(point.recipe, scale="laptop", dataset="cifar10", changes=point.changes)
    name = run_folder(asked.experiment, runs=runs, root=root).path.name
    if (runs / name).exists() and name not in ledger.seconds:
        raise SystemExit(f"{runs / name} was trained without its CPU time; delete it.")
    if name not in ledger.seconds or RunFolder(runs / name).status() != "finished":
        with ledger.counted(name):
            pretrain(point.recipe, dataset="cifar10", changes=point.changes, runs=runs, root=root,
                     threads=1, progress=False)  # fmt: skip
    folder = RunFolder(runs / name)
    before = time.process_time()
    linear_top1, knn_top1 = heldout_accuracy(folder, images, root=root)
    final = folder.summary()["final"]
    return Measured(
        point=point,
        run=name,
        minutes=round(ledger.seconds[name] / 60, 3),
        scoring_minutes=round((time.process_time() - before) / 60, 3),
        linear=round(linear_top1, 2),
        knn=round(knn_top1, 2),
        monitor=final["knn"],
        loss=final["loss"],
    )


def heldout_accuracy(folder: RunFolder, images: Dataset, *, root: Path) -> tuple[float, float]:
    """Linear probe and kNN on the held-out tenth, each at its best setting there, in percent."""
    subject = open_subject(folder, data=ALL, root=root, dataset=images)
    train = encode(subject.encoder, images.train.images, mean=subject.mean, std=subject.std)
    labels, heldout = subject.train_labels, subject.heldout
    rest = complement(heldout, len(train))
    probe, neighbours = find_protocol("linear"), find_protocol("knn")
    assert isinstance(probe, Linear)
    assert isinstance(neighbours, KNN)
    change = standardization(train[rest], probe)
    sweep = fit(change(train[rest]), labels[rest], settings_of(probe),
                num_classes=subject.num_classes, protocol=probe)  # fmt: skip
    _, linear_top1 = sweep.best(change(train[heldout]), labels[heldout])
    *_, knn_top1 = choose(train, labels, heldout=heldout, num_classes=subject.num_classes,
                          protocol=neighbours)  # fmt: skip
    return linear_top1, knn_top1


def write(measured: list[Measured]) -> None:
    """The record and its picture."""
    folder = RESULTS / hardware.device_class(torch.device("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": "budget",
        "command": "python benchmarks/budget.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(None),
        "points": [asdict(m) for m in measured],
    }
    (folder / "budget.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
