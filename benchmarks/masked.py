"""A step of MAE in images per second, beside lightly's on the same ViT, and what it is made of.

    python benchmarks/masked.py

The same encoder and decoder, mask ratio, batch and AdamW on both sides, on one augmented batch that
is ready; ours is the engine's own `Trainer`. lightly's parts put together as its example has them
(float32), and under bf16 autocast. Then ours alone with the mask tokens in the encoder: the price
that Table 1 (c) of the paper gives as 3.3 times the arithmetic; and for each of ours the share of
the rate of a large matrix product that its counted arithmetic comes to.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from augment import save_images
from bench import PEER, Measure, Peer, Record, Round, interleave, machine, options, prepare
from floors import product
from step import CPU, our_steps
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Shapes

ADAMW = {"lr": 1.5e-3, "betas": [0.9, 0.95], "weight_decay": 0.05}


@dataclass(frozen=True)
class Case:
    """One encoder and decoder at 32 px, and how much work a round is."""

    name: str
    encoder: dict[str, int]
    decoder: dict[str, int]
    batch: int
    steps: int


CASES = (
    Case("ViT 64 x 4, patch 4 (laptop)", {"width": 64, "depth": 4, "heads": 4, "patch": 4},
         {"width": 32, "depth": 4, "heads": 2}, batch=64, steps=20),
    Case("ViT-Ti, patch 4", {"width": 192, "depth": 12, "heads": 3, "patch": 4},
         {"width": 192, "depth": 4, "heads": 3}, batch=64, steps=3),
)  # fmt: skip


def experiment(case: Case, *, in_encoder: bool = False) -> Experiment:
    """MAE at laptop scale with the case's networks and the peer's optimiser."""
    changes: dict[str, Any] = {
        **{f"encoder.{k}": v for k, v in case.encoder.items()},
        **{f"decoder.{k}": v for k, v in case.decoder.items()},
        "mask.in_encoder": in_encoder,
        "batch_size": case.batch,
        "optimizer": {"kind": "AdamW", **ADAMW, "exclude_bias_and_norm": False},
        "epochs": 1000,  # never ends here
    }
    data = Shapes(num_train=case.batch, num_test=10)
    return resolve("mae", scale="laptop", layers=[("--set", changes)], data=data).experiment


def ours(
    case: Case, dataset: Dataset, precision: torch.dtype | None, *, in_encoder: bool = False
) -> tuple[Callable[[], Round], float]:
    """Rounds of the engine's step on one ready batch, and the GFLOP of a step."""
    trainer = Trainer(experiment(case, in_encoder=in_encoder), dataset, device=CPU,
                      precision=precision)  # fmt: skip
    run = our_steps(trainer, case.steps)
    # As products of matrices, which are counted; fused attention on a CPU is not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        trainer.step()
    return run, counter.get_total_flops() / 1e9


def measure(case: Case, peer: Peer, chosen: argparse.Namespace, scratch: Path) -> list[Measure]:
    """All contestants of one case."""
    dataset = load(Shapes(num_train=case.batch, num_test=10), root=chosen.data_root)
    images = save_images(dataset.train.images, scratch / "images.npy")
    contestants: list[tuple[Measure, Callable[[], Round]]] = []
    for bf16 in (False, True) if hardware.has_bf16_unit() else (False,):
        name = f"{PEER}, bf16" if bf16 else PEER
        run = peer.open("masked", name, images=images, encoder=case.encoder, decoder=case.decoder,
                        resolution=dataset.resolution, ratio=0.75, optimizer=ADAMW,
                        steps=case.steps, bf16=bf16)  # fmt: skip
        made = Measure(case.name, name, "images", peer=True, baseline=not bf16)
        contestants.append((made, run))
    best = hardware.pick_precision(CPU)
    precisions = {"fp32": None, **({"bf16": best} if best else {})}
    counted: dict[str, tuple[str, float]] = {}  # of a contestant of ours: precision, GFLOP a step
    for words, precision in precisions.items():
        for more in (False, True):
            name = f"sslbench, {words}{', [M] in the encoder' if more else ''}"
            run, gflop = ours(case, dataset, precision, in_encoder=more)
            counted[name] = (words, gflop)
            contestants.append((Measure(case.name, name, "images"), run))
        side = 512 if chosen.quick else 4096
        rate = product(precision or torch.float32, side=side)
        contestants.append((Measure(f"product of {side}", words, "GFLOP"), rate))
    measures = interleave(contestants, rounds=chosen.rounds)
    rates = {m.contestant: m.median() for m in measures if m.case.startswith("product")}
    for made in measures:
        if made.contestant in counted:
            words, gflop = counted[made.contestant]
            share = made.median() * gflop / case.batch / rates[words]
            made.note = f"{gflop:.2f} GFLOP a step, {100 * share:.0f} % of the product's rate"
    for made, _ in contestants:
        if made.peer:
            peer.close(made.contestant)
    return measures


def main() -> None:
    """Measure every case; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    with Peer() as peer, tempfile.TemporaryDirectory() as scratch:
        batches = {case.name: case.batch for case in CASES}
        record = Record("masked", chosen.quick, machine(peer.versions), {"batch": batches})
        for case in CASES[:1] if chosen.quick else CASES:
            case = replace(case, batch=16, steps=1) if chosen.quick else case
            record.measures += measure(case, peer, chosen, Path(scratch))
        record.finish()


if __name__ == "__main__":
    main()
