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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from bench import HERE, RESULTS, machine

from sslbench.api import pretrain
from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import run_folder
from sslbench.errors import Interrupted
from sslbench.evaluation.accuracy import complement
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.features import encode
from sslbench.evaluation.knn import choose
from sslbench.evaluation.linear import fit, settings_of, standardization
from sslbench.evaluation.protocols import KNN, Linear, find_protocol
from sslbench.files import write_atomically
from sslbench.recipes.specs import ImageSet
from sslbench.reports import plots
from sslbench.reports.markdown import on_any_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from sslbench.requests import resolved

ALL = ImageSet(name="cifar10", resolution=32)
RECIPES = ("simclr", "byol", "swav")
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
        """What it changes of the recipe at `laptop`. The warm-up keeps its share of the run, and
        so do SwAV's steps with frozen prototypes; the rate follows the batch, as the recipes'
        `scaling: linear` has it."""
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
        if self.recipe == "swav":
            out["prototypes.frozen_epochs"] = round(self.epochs / 12, 4)
        return out


def points() -> Iterator[Point]:
    """Equal cost first, then twice, four and eight times of it; most choices for SimCLR, the
    cheapest."""
    for recipe in RECIPES:
        yield Point(recipe, 8_000, 12)
        yield Point(recipe, 50_000, 2)
        yield Point(recipe, 50_000, 1, width=32)
    yield Point("simclr", 16_000, 6)
    yield Point("simclr", 50_000, 2, batch=128)
    yield Point("simclr", 50_000, 4)
    yield Point("simclr", 50_000, 2, width=32)
    yield Point("simclr", 50_000, 8)
    yield Point("simclr", 50_000, 4, width=32)
    for recipe in ("byol", "swav"):
        yield Point(recipe, 50_000, 4)
        yield Point(recipe, 50_000, 2, width=32)
        yield Point(recipe, 50_000, 2, batch=128)
    yield Point("simclr", 50_000, 2, batch=256)
    yield Point("simclr", 32_000, 2, width=24)
    yield Point("simclr", 50_000, 8, width=32)
    yield Point("simclr", 50_000, 3, width=64)
    yield Point("byol", 50_000, 4, width=32)
    yield Point("swav", 50_000, 4, width=32)


HEADINGS = ("recipe", "images", "epochs", "width", "batch", "core-minutes", "to score",
            "linear (%)", "kNN (%)")  # fmt: skip
KINDS: dict[str, tuple[str, Callable[[Point], bool]]] = {
    "o": ("8,000 or 16,000 images, width 16", lambda p: p.images < 50_000 and p.width == 16),
    "s": ("50,000 images, width 16", lambda p: p.images == 50_000 and p.width == 16),
    "v": ("32,000 images, width 24", lambda p: p.width == 24),
    "^": ("50,000 images, width 32", lambda p: p.width == 32),
    "D": ("50,000 images, width 64", lambda p: p.width == 64),
}


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
    """What is known of runs by their names, kept beside them: CPU seconds of training, to which one
    that goes on adds its own, then of scoring, and the accuracies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, dict[str, float]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    def keep(self, name: str, **values: float) -> None:
        """Write values of a run down."""
        self.known[name] = {**self.known.get(name, {}), **values}
        write_atomically(self.path, json.dumps(self.known, indent=1) + "\n")

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Count the CPU time of this process in the block, also where it is stopped."""
        before = time.process_time()
        try:
            yield
        finally:
            spent = self.known.get(name, {}).get("training", 0.0)
            self.keep(name, training=spent + time.process_time() - before)


def main() -> None:
    """Train what is missing, score it, write after every point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, default=HERE.parent / "data")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs" / "budget")
    parser.add_argument("--finished", action="store_true",
                        help="write what is finished, and train nothing")  # fmt: skip
    chosen = parser.parse_args()
    hardware.prepare_process(1)
    images = load(ALL, root=chosen.data_root)
    ledger = Ledger(chosen.runs / "budget.json")
    measured: list[Measured] = []
    for point in points():
        folder = folder_of(point, runs=chosen.runs, root=chosen.data_root)
        if chosen.finished and folder.status() != "finished":
            continue
        try:
            measured.append(measure(point, folder, images, ledger, root=chosen.data_root))
        except Interrupted as stopped:
            raise SystemExit(str(stopped)) from None
        print(measured[-1], flush=True)
        write(measured)


def folder_of(point: Point, *, runs: Path, root: Path) -> RunFolder:
    """Where a point's run lies."""
    asked = resolved(point.recipe, scale="laptop", dataset="cifar10", changes=point.changes)
    return run_folder(asked.experiment, runs=runs, root=root)


def measure(
    point: Point, folder: RunFolder, images: Dataset, ledger: Ledger, *, root: Path
) -> Measured:
    """Train a point and judge its encoder, or find both."""
    name = folder.path.name
    if folder.path.exists() and name not in ledger.known:
        raise SystemExit(f"{folder.path} was trained without its CPU time; delete it.")
    if folder.status() != "finished":
        with ledger.training(name):
            pretrain(point.recipe, dataset="cifar10", changes=point.changes,
                     runs=folder.path.parent, root=root, threads=1, progress=False)  # fmt: skip
    if "linear" not in ledger.known[name]:
        before = time.process_time()
        linear, knn = heldout_accuracy(folder, images, root=root)
        ledger.keep(name, linear=linear, knn=knn, scoring=time.process_time() - before)
    known, final = ledger.known[name], folder.summary()["final"]
    return Measured(
        point=point,
        run=name,
        minutes=round(known["training"] / 60, 3),
        scoring_minutes=round(known["scoring"] / 60, 3),
        linear=round(known["linear"], 2),
        knn=round(known["knn"], 2),
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


def write(measured: Sequence[Measured]) -> None:
    """The record and its picture."""
    cpu = torch.device("cpu")
    folder, precision = RESULTS / hardware.device_class(cpu), hardware.pick_precision(cpu)
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": "budget",
        "command": "python benchmarks/budget.py",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(None) | {"precision": str(precision).removeprefix("torch.")},
        "headings": HEADINGS,
        "rows": [cells(m) for m in measured],
        "points": [asdict(m) for m in measured],
    }
    (folder / "budget.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "budget.svg").write_text(picture(measured))


def cells(measured: Measured) -> list[str]:
    """A point as the README shows it."""
    point = measured.point
    counts = (point.images, point.epochs, point.width, point.batch)
    minutes = (measured.minutes, measured.scoring_minutes)
    top1 = (measured.linear, measured.knn)
    return [point.recipe, *(f"{n:,}" for n in counts), *(f"{m:.2f}" for m in minutes),
            *(f"{a:.1f}" for a in top1)]  # fmt: skip


def picture(measured: Sequence[Measured]) -> str:
    """An SVG of both accuracies against core-minutes: colours are recipes, marks are what the
    minutes went to, hollow where a step has more images than 64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, key in ((left, "linear probe", "linear"), (right, "kNN", "knn")):
        plots.house_style(axes)
        for index, recipe in enumerate(RECIPES):
            draw(axes, [m for m in measured if m.point.recipe == recipe], key, plots.colour(index))
        axes.set_xlabel("core-minutes of training")
        axes.set_ylabel(f"{name}, held-out top-1 (%)")
        longest = max(m.minutes for m in measured)
        plots.log2_axis(axes, [float(2**n) for n in range(5) if 2**n < 2 * longest])
    for index, recipe in enumerate(RECIPES):
        right.plot([], [], "-", color=plots.colour(index), label=recipe)
    for mark, (label, belongs) in KINDS.items():
        if any(belongs(m.point) for m in measured):
            right.plot([], [], mark, color=plots.INK, markersize=5, label=label)
    right.plot([], [], "s", color=plots.INK, markerfacecolor="none", label="more than 64 a step")
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5),
                 labelcolor=plots.INK)  # fmt: skip
    return on_any_page(plots.to_svg(figure, "budget"))


def draw(axes: Axes, measured: Sequence[Measured], key: str, colour: str) -> None:
    """One recipe's points; those of all images that differ in epochs alone are joined."""
    for mark, (_, belongs) in KINDS.items():
        for larger in (False, True):
            line = sorted(
                (m.minutes, getattr(m, key))
                for m in measured
                if belongs(m.point) and (m.point.batch > 64) == larger
            )
            joined = "-" if mark in ("s", "^") and not larger else ""
            face = "none" if larger else colour
            axes.plot(*zip(*line, strict=True) if line else ([], []), marker=mark, color=colour,
                      linestyle=joined, markerfacecolor=face, markersize=5)  # fmt: skip


if __name__ == "__main__":
    main()
