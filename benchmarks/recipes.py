"""A training step of every recipe over SimCLR's: seconds, beside the arithmetic it does.

    python benchmarks/recipes.py

At `laptop` scale, batch 64, on one ready batch. The arithmetic is PyTorch's own count of the
products and convolutions of a whole step, forward and backward; what is not counted (sorting a
ring, drawing and mixing features, the momentum update) shows as a time ratio above it.
"""

from __future__ import annotations

import torch
from bench import Measure, Record, interleave, machine, options, prepare
from step import CPU, our_steps
from torch.utils.flop_counter import FlopCounterMode

from sslbench.data import load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve

REFERENCE = "simclr"


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    steps = 3 if chosen.quick else 20
    record = Record("recipes", chosen.quick, machine(None), {"scale": "laptop", "steps": steps})
    precision: torch.dtype | None = hardware.pick_precision(CPU)
    contestants, flops = [], {}
    for name, recipe in RECIPES.items():
        if recipe.epochs == 0 or recipe.needs_labels:
            continue
        experiment = resolve(name, scale="laptop").experiment
        dataset = load(experiment.data, root=chosen.data_root)
        trainer = Trainer(experiment, dataset, device=CPU, precision=precision)
        run = our_steps(trainer, steps)
        with FlopCounterMode(display=False) as counter:
            trainer.step()
        flops[name] = counter.get_total_flops()
        contestants.append((Measure("laptop, batch 64, step alone", name, "images"), run))
    record.measures = interleave(contestants, rounds=chosen.rounds)
    reference = next(m for m in record.measures if m.contestant == REFERENCE)
    for measure in record.measures:
        slower = reference.times(measure)
        work = flops[measure.contestant] / flops[REFERENCE]
        measure.note = f"time x {slower:.2f}, arithmetic x {work:.2f}"
    record.finish()


if __name__ == "__main__":
    main()
