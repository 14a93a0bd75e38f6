"""A SimCLR step with more and more local crops over one with two views, beside their pixels.

    python benchmarks/multicrop.py

Views, forward, backward and update at `laptop` scale, batch 64: the cost of local crops should
grow as the pixels do, and not as their number.
"""

from __future__ import annotations

import torch
from bench import Measure, Record, interleave, machine, options, prepare
from step import CPU, our_rounds

from sslbench.data import load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.recipes.resolve import resolve

GLOBAL, LOCAL = 32, 16
CROPS = (0, 1, 2, 4, 8)


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    steps = 3 if chosen.quick else 20
    record = Record("multicrop", chosen.quick, machine(None), {"scale": "laptop", "steps": steps})
    precision: torch.dtype | None = hardware.pick_precision(CPU)
    contestants, sizes = [], {}
    for count in CROPS:
        name = f"2 x {GLOBAL} + {count} x {LOCAL}"
        sizes[name] = (2 * GLOBAL**2 + count * LOCAL**2, 2 + count)
        changes = {"views.first.size": GLOBAL, "views.num_local": count}
        resolved = resolve("simclr-multicrop", scale="laptop", layers=[("--set", changes)])
        dataset = load(resolved.experiment.data, root=chosen.data_root)
        trainer = Trainer(resolved.experiment, dataset, device=CPU, precision=precision)
        measure = Measure("laptop, batch 64, whole step", name, "images")
        contestants.append((measure, our_rounds(trainer, steps)))
    record.measures = interleave(contestants, rounds=chosen.rounds)
    reference = record.measures[0]
    for measure in record.measures:
        pixels, views = (
            ours / theirs
            for ours, theirs in zip(
                sizes[measure.contestant], sizes[reference.contestant], strict=True
            )
        )
        slower = reference.times(measure)
        measure.note = f"time x {slower:.2f}, pixels x {pixels:.2f}, views x {views:.2f}"
    record.finish()


if __name__ == "__main__":
    main()
