"""SimCLR in images per second: the step alone, and end to end with loading and augmentation.

    python benchmarks/step.py

The same encoder, head widths, batch, temperature, SGD and augmentation strengths on both sides;
ours is the engine's own `Trainer`. lightly as its example ships it (float32, channels first) and
under bf16 autocast. Step alone: both repeat steps on one augmented batch that is ready. End to
end: a round is one pass over the images. Both sides forward the two views one after the other.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from augment import peer_transform, save_images
from bench import PEER, Measure, Peer, Record, Round, interleave, machine, options, prepare
from clock import Clock

from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Shapes

CPU = torch.device("cpu")
SGD = {"lr": 0.06, "momentum": 0.9, "weight_decay": 5e-4}


@dataclass(frozen=True)
class Case:
    """One network: its encoder, head and batch, and how much work a round is."""

    name: str
    encoder: dict[str, Any]
    hidden: int
    batch: int
    steps: int  # of a round of the step alone
    images: int  # of a round end to end
    compiled: bool  # also end to end with compiled views


NARROW = {"kind": "NarrowResNet", "width": 16, "blocks": [1, 1, 1], "stem_stride": 2}
RESNET18 = {"kind": "ResNet", "arch": "resnet18", "stem": "small"}
CASES = (
    Case("narrow ResNet (laptop)", NARROW, 256, 256, steps=20, images=5120, compiled=True),
    Case("ResNet-18, small stem", RESNET18, 512, 64, steps=3, images=320, compiled=False),
)


def experiment(case: Case, num_train: int) -> Experiment:
    """SimCLR at laptop scale with the case's network, and the peer's optimiser and forward."""
    changes = {
        "encoder": case.encoder,
        "projector.hidden": [case.hidden],
        "batch_size": case.batch,
        "batch_norm": {"kind": "BatchNorm", "mode": "local"},  # two forwards, as lightly's
        "optimizer": {"kind": "SGD", **SGD},
        "epochs": 1000,  # never ends here
    }
    data = Shapes(num_train=num_train, num_test=10)
    return resolve("simclr", scale="laptop", layers=[("--set", changes)], data=data).experiment


def our_trainer(
    case: Case, dataset: Dataset, *, precision: torch.dtype | None, compiled: bool = False
) -> Trainer:
    """The engine on this case."""
    return Trainer(experiment(case, len(dataset.train.images)), dataset, device=CPU,
                   precision=precision, compile_views=compiled)  # fmt: skip


def our_steps(trainer: Trainer, steps: int) -> Callable[[], Round]:
    """Rounds of the engine's step on one ready batch: the augmenter hands out the same views."""
    batch = trainer.images[: trainer.local_batch]
    samples = torch.arange(trainer.local_batch)
    ready = trainer.augmenter(batch, key=1, samples=samples)
    trainer.augmenter = lambda images, *, key, samples: ready  # type: ignore[assignment]
    return our_rounds(trainer, steps)


def our_rounds(trainer: Trainer, steps: int) -> Callable[[], Round]:
    """Rounds of so many steps of the engine."""

    def run() -> Round:
        with Clock() as clock:
            for _ in range(steps):
                trainer.step()
        return {**clock.result(), "count": steps * trainer.local_batch}

    return run


@contextmanager
def peer_rounds(
    peer: Peer, case: Case, dataset: Dataset, scratch: Path, *, steps: int | None
) -> Iterator[list[tuple[Measure, Callable[[], Round]]]]:
    """lightly as shipped and under bf16, where the CPU multiplies bf16; closed at the end."""
    recipe = experiment(case, len(dataset.train.images)).recipe
    arguments = {
        "images": save_images(dataset.train.images, scratch / "images.npy"),
        "transform": peer_transform(recipe.views.first, side=dataset.resolution, dataset=dataset),
        "batch_size": case.batch,
        "encoder": case.encoder,
        "hidden": case.hidden,
        "out": 128,
        "temperature": getattr(recipe.objective, "temperature", None),
        "optimizer": SGD,
        "steps": steps,
    }
    label = f"{case.name}, {'step alone' if steps else 'end to end'}"
    settings = [False, *([True] if hardware.has_bf16_unit() else [])]
    opened = []
    for bf16 in settings:
        name = f"{PEER}, bf16" if bf16 else PEER
        run = peer.open("step", name, bf16=bf16, **arguments)
        opened.append((Measure(label, name, "images", peer=True, baseline=not bf16), run))
    yield list(opened)
    for measure, _ in opened:
        peer.close(measure.contestant)


def measure(case: Case, peer: Peer, chosen: argparse.Namespace, scratch: Path) -> list[Measure]:
    """Both parts of one case."""
    steps = 2 if chosen.quick else case.steps
    count = 2 * case.batch if chosen.quick else case.images
    dataset = load(Shapes(num_train=count, num_test=10), root=chosen.data_root)
    best = hardware.pick_precision(CPU)
    precisions = {"sslbench, fp32": None, **({"sslbench, bf16": best} if best else {})}
    measures: list[Measure] = []
    with peer_rounds(peer, case, dataset, scratch, steps=steps) as contestants:
        for name, precision in precisions.items():
            run = our_steps(our_trainer(case, dataset, precision=precision), steps)
            contestants.append((Measure(contestants[0][0].case, name, "images"), run))
        measures += interleave(contestants, rounds=chosen.rounds)
    with peer_rounds(peer, case, dataset, scratch, steps=None) as contestants:
        variants = {
            "sslbench": False,
            **({"sslbench, compiled views": True} if case.compiled else {}),
        }
        for name, compiled in variants.items():
            trainer = our_trainer(case, dataset, precision=best, compiled=compiled)
            run = our_rounds(trainer, count // case.batch)
            contestants.append((Measure(contestants[0][0].case, name, "images"), run))
        measures += interleave(contestants, rounds=chosen.rounds)
    return measures


def main() -> None:
    """Measure every case; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    with Peer() as peer, tempfile.TemporaryDirectory() as scratch:
        record = Record("step", chosen.quick, machine(peer.versions),
                        {"batch": {c.name: c.batch for c in CASES}, "workers": 2})  # fmt: skip
        for case in CASES:
            if chosen.quick:
                case = replace(case, batch=16)
            record.measures += measure(case, peer, chosen, Path(scratch))
        record.finish()


if __name__ == "__main__":
    main()
