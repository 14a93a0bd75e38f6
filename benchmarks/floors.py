"""How much of the machine a training step uses: large products, convolutions, and our steps.

    python benchmarks/floors.py

The rate of a large matrix product is what the arithmetic units give; a step's rate is its
floating point operations, counted by PyTorch's own counter, over its seconds. The share of the
step is against the product in the step's precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from bench import Measure, Record, Round, interleave, machine, options, prepare
from clock import Clock
from step import CASES, CPU, Case, our_steps, our_trainer
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sslbench.data import load
from sslbench.engine import hardware
from sslbench.recipes.specs import Shapes

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def repeated(work: Callable[[], object], *, flops: float, repeats: int) -> Callable[[], Round]:
    """Rounds of `repeats` calls, counted in GFLOP."""

    def run() -> Round:
        with Clock() as clock:
            for _ in range(repeats):
                work()
        return {**clock.result(), "count": repeats * flops / 1e9}

    return run


def product(dtype: torch.dtype, *, side: int) -> Callable[[], Round]:
    """A square matrix product."""
    a, b = torch.randn(2, side, side).to(dtype)
    return repeated(lambda: a @ b, flops=2.0 * side**3, repeats=3)


def convolution(dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], Round]:
    """A 3x3 convolution of 64 x 64 channels at 32 px, batch 64."""
    x = torch.randn(64, 64, 32, 32).to(dtype).contiguous(memory_format=layout)
    weight = torch.randn(64, 64, 3, 3).to(dtype).contiguous(memory_format=layout)
    flops = 2.0 * 64 * 64 * 9 * 64 * 32 * 32
    return repeated(lambda: F.conv2d(x, weight, padding=1), flops=flops, repeats=5)


def step(
    case: Case, precision: torch.dtype | None, *, steps: int, root: object
) -> Callable[[], Round]:
    """Steps of the engine on a ready batch, in GFLOP."""
    dataset = load(Shapes(num_train=case.batch, num_test=10), root=root)
    trainer = our_trainer(case, dataset, precision=precision)
    run = our_steps(trainer, steps)
    with FlopCounterMode(display=False) as counter:
        trainer.step()
    gflop = steps * counter.get_total_flops() / 1e9
    return lambda: {**run(), "count": gflop}


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    record = Record("floors", chosen.quick, machine(None))
    side = 1024 if chosen.quick else 4096
    allowed = ("fp32", "bf16") if hardware.has_bf16_unit() else ("fp32",)
    contestants = []
    for name in allowed:
        dtype = DTYPES[name]
        contestants.append(
            (Measure(f"product of {side}", name, "GFLOP"), product(dtype, side=side))
        )
        for layout, words in ((torch.channels_last, "channels last"),
                              (torch.contiguous_format, "channels first")):  # fmt: skip
            measure = Measure(f"3x3 convolution, {words}", name, "GFLOP")
            contestants.append((measure, convolution(dtype, layout)))
    best = hardware.pick_precision(CPU)
    for case in CASES:
        if chosen.quick:
            case = replace(case, batch=16)
        for name, precision in {"fp32": None, **({"bf16": best} if best else {})}.items():
            run = step(case, precision, steps=2 if chosen.quick else case.steps,
                       root=chosen.data_root)  # fmt: skip
            contestants.append((Measure(f"SimCLR step, {case.name}", name, "GFLOP"), run))
    record.measures = interleave(contestants, rounds=chosen.rounds)
    floors = {m.contestant: m.median() for m in record.measures if m.case.startswith("product")}
    for measure in record.measures:
        share = measure.median() / floors[measure.contestant]
        measure.note = f"{100 * share:.0f} % of the product's rate"
    record.finish()


if __name__ == "__main__":
    main()
