"""A linear probe with its choice of rate: seconds to the test accuracy.

    python benchmarks/linear.py           # lightly: three epochs measured, 90 extrapolated
    python benchmarks/linear.py --full    # lightly: all 90 epochs measured, with their accuracies

The same encoder (SimCLR, two epochs at laptop scale) and images on both sides. lightly, as its
benchmarks do it: every epoch crops and flips, runs the encoder, and takes SGD steps at one fixed
rate, for 90 epochs. Ours: the features once, then the whole `linear.features.v1`: every rate of
the sweep, the choice on held-out images, the final fit, the test. The protocols differ (ours has
no augmentation), so the accuracies stand beside the times.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augment import save_images
from bench import PEER, Measure, Peer, Record, Round, interleave, machine, options, prepare
from clock import Clock
from step import NARROW, SGD

from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.evaluation.features import extract
from sslbench.evaluation.linear import linear
from sslbench.evaluation.protocols import Linear, find_protocol
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Shapes

EPOCHS, BATCH = 90, 256


def pretrained(dataset: Dataset, data: Shapes, *, epochs: int) -> torch.nn.Module:
    """The encoder of a short SimCLR run."""
    changes = {"encoder": NARROW, "epochs": epochs, "optimizer": {"kind": "SGD", **SGD}}
    experiment = resolve(
        "simclr", scale="laptop", layers=[("--set", changes)], data=data
    ).experiment
    cpu = torch.device("cpu")
    trainer = Trainer(experiment, dataset, device=cpu, precision=hardware.pick_precision(cpu))
    for _ in range(trainer.total_steps):
        trainer.step()
    encoder: torch.nn.Module = trainer.method.encoder
    return encoder


def our_probe(encoder: torch.nn.Module, dataset: Dataset) -> Callable[[], Round]:
    """Features and the whole protocol."""
    protocol = find_protocol("linear")
    assert isinstance(protocol, Linear)
    train_labels, test_labels = dataset.train.labels, dataset.test.labels
    assert train_labels is not None
    assert test_labels is not None

    def run() -> Round:
        with Clock() as clock:
            features = extract(encoder, dataset, mean=dataset.mean, std=dataset.std)
            found = linear(features, train_labels, test_labels, heldout=dataset.heldout,
                           num_classes=len(dataset.classes), protocol=protocol)  # fmt: skip
        return {**clock.result(), "count": len(train_labels), "top1": found.values["top1"]}

    return run


def peer_arguments(encoder: torch.nn.Module, dataset: Dataset, scratch: Path) -> dict[str, Any]:
    """The same images, labels and weights, as files."""
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        save_images(split.images, scratch / f"{name}.npy")
        assert split.labels is not None
        np.save(scratch / f"{name}_labels.npy", split.labels.numpy())
    torch.save(encoder.state_dict(), scratch / "encoder.pt")
    return {
        "folder": str(scratch),
        "encoder": NARROW,
        "weights": str(scratch / "encoder.pt"),
        "resolution": dataset.resolution,
        "mean": dataset.mean,
        "std": dataset.std,
        "batch_size": BATCH,
        "epochs": EPOCHS,
    }


def all_epochs(epochs: list[Round], *, measured: bool) -> Measure:
    """lightly's 90 epochs, measured, or each measured epoch times 90."""
    case = "probe with its choice of rate"
    if measured:
        whole = {k: sum(r[k] for r in epochs) for k in ("wall", "cpu")}
        return Measure(case, f"{PEER}, {EPOCHS} epochs, one rate", "s", peer=True, baseline=True,
                       rounds=[{**whole, "count": epochs[0]["count"]}],
                       note=f"top-1 {epochs[-1]['top1']:.2f}")  # fmt: skip
    rounds = [{"wall": EPOCHS * r["wall"], "cpu": EPOCHS * r["cpu"], "count": r["count"]}
              for r in epochs]  # fmt: skip
    return Measure(case, f"{PEER}, {EPOCHS} epochs, one rate", "s", peer=True, baseline=True,
                   rounds=rounds, note="extrapolated from one epoch a round")  # fmt: skip


def measured(
    chosen: argparse.Namespace, ours: Callable[[], Round], lightly: Callable[[], Round]
) -> tuple[list[Measure], dict[str, Any]]:
    """lightly's epochs and our whole protocol; with --full, lightly's accuracy by epoch."""
    probe = Measure("probe with its choice of rate", "sslbench, features and sweep", "s")
    extra: dict[str, Any] = {}
    if chosen.full:
        epochs = [lightly() for _ in range(EPOCHS)]
        ours()
        probe.rounds = [dict(ours())]
        extra["peer_top1_by_epoch"] = [r["top1"] for r in epochs]
    else:
        epoch = Measure("", f"{PEER}, one epoch", "s")
        interleave([(epoch, lightly), (probe, ours)], rounds=chosen.rounds)
        epochs = list(epoch.rounds)
    probe.note = f"top-1 {probe.rounds[-1]['top1']:.2f}"
    return [all_epochs(epochs, measured=chosen.full), probe], extra


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "", extra={"full": "measure all of lightly's epochs"})
    prepare()
    data = Shapes(num_train=1024, num_test=256) if chosen.quick else Shapes()
    dataset = load(data, root=chosen.data_root)
    encoder = pretrained(dataset, data, epochs=1 if chosen.quick else 2)
    with Peer() as peer, tempfile.TemporaryDirectory() as scratch:
        arguments = peer_arguments(encoder, dataset, Path(scratch))
        lightly = peer.open("linear", "linear", **arguments)
        record = Record("linear", chosen.quick, machine(peer.versions),
                        {"images": data.num_train, "epochs": EPOCHS, "batch": BATCH})  # fmt: skip
        record.measures, record.extra = measured(chosen, our_probe(encoder, dataset), lightly)
        record.finish()


if __name__ == "__main__":
    main()
