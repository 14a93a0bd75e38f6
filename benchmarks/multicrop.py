"""Views, and whole steps, with more and more local crops over two views alone, beside their pixels.

    python benchmarks/multicrop.py

At `laptop` scale, batch 64. The cost of local crops should grow as the pixels do, and not as their
number: that of the views, and of SwAV's step, whose loss is linear in the views. SimCLR compares
every view with every other, so its loss grows as their square.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import Measure, Record, Round, interleave, machine, options, prepare
from clock import Clock
from step import CPU, our_rounds

from sslbench.data import load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.recipes.resolve import resolve

GLOBAL, LOCAL = 32, 16
CROPS = (0, 1, 2, 4, 8)
METHODS = {"swav": "SwAV, whole step", "simclr-multicrop": "SimCLR, whole step"}


def view_rounds(trainer: Trainer, passes: int) -> Callable[[], Round]:
    """Rounds of so many batches of views, without network."""
    images = trainer.images[: trainer.local_batch]
    samples = torch.arange(trainer.local_batch)

    def run() -> Round:
        with Clock() as clock:
            for key in range(passes):
                trainer.augmenter(images, key=key, samples=samples)
        return {**clock.result(), "count": passes * trainer.local_batch}

    return run


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    steps = 3 if chosen.quick else 20
    record = Record("multicrop", chosen.quick, machine(None), {"scale": "laptop", "steps": steps})
    precision: torch.dtype | None = hardware.pick_precision(CPU)
    alone, whole, sizes = [], [], {}
    for recipe, case in METHODS.items():
        for count in CROPS:
            name = f"2 x {GLOBAL} + {count} x {LOCAL}"
            sizes[name] = (2 * GLOBAL**2 + count * LOCAL**2, 2 + count)
            changes = {"views.first.size": GLOBAL, "views.num_local": count}
            resolved = resolve(recipe, scale="laptop", layers=[("--set", changes)])
            dataset = load(resolved.experiment.data, root=chosen.data_root)
            trainer = Trainer(resolved.experiment, dataset, device=CPU, precision=precision)
            if recipe == "swav":
                views = Measure("views alone", name, "images")
                alone.append((views, view_rounds(trainer, 2 * steps)))
            whole.append((Measure(case, name, "images"), our_rounds(trainer, steps)))
    record.measures = interleave(alone + whole, rounds=chosen.rounds)
    two_views = {m.case: m for m in record.measures if m.contestant == next(iter(sizes))}
    for measure in record.measures:
        reference = two_views[measure.case]
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
