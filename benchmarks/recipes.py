"""A training step of every recipe over SimCLR's: seconds, beside what explains them.

    python benchmarks/recipes.py

At `laptop` scale, batch 64, on one ready batch. Two numbers explain a time, each over SimCLR's:

- arithmetic: PyTorch's own count of the products and convolutions of a whole step, forward and
  backward. It leaves out all elementwise work (batch norm, ReLU), which a forward has more of for
  its products than a backward, and what a call costs by itself;
- passes: the seconds of the step's passes through its networks alone, measured in the same rounds:
  every call of an encoder or head that the step makes, on the same shape, with its backward where
  it has one, with torch's own batch norm over all of its input; and the rest of the arithmetic (a
  product with a queue) at SimCLR's rate. It is left out where a method reaches into its networks.

What neither counts (groups of batch norm, sorting a ring, drawing and mixing features, the momentum
update, the loss) shows as a time ratio above them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from bench import Measure, Record, Round, interleave, machine, options, prepare
from clock import Clock
from step import CPU, our_steps
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sslbench.data import load
from sslbench.engine import hardware
from sslbench.engine.trainer import Trainer
from sslbench.models.batch_norm import BatchNorm
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve

REFERENCE = "simclr"
STEP, PASSES = "laptop, batch 64, step alone", "laptop, batch 64, its passes alone"
PARTS = ("encoder", "projector", "predictor")
ENOUGH = 0.75  # of a step's arithmetic, for its passes to explain it


@dataclass(frozen=True)
class Pass:
    """One call of a network on an input, and whether a backward follows."""

    network: nn.Module
    given: Tensor
    trained: bool

    def run(self, precision: torch.dtype | None) -> None:
        """The call and its backward; images have no gradient, what a head reads has."""
        x = self.given.detach().requires_grad_(self.trained and self.given.dim() == 2)
        with (
            torch.set_grad_enabled(self.trained),
            torch.autocast("cpu", dtype=precision, enabled=precision is not None),
        ):
            out = self.network(x)
        if self.trained:
            out.backward(torch.ones_like(out))
            self.network.zero_grad(set_to_none=True)


def passes(trainer: Trainer) -> list[Pass]:
    """What one step of the trainer calls, each on a copy of the network of its own kind."""
    found, hooks, copies = [], [], {}

    def record(network: nn.Module, given: tuple[Tensor, ...], out: object) -> None:
        if isinstance(out, Tensor) and any(True for _ in network.parameters()):
            plain = copies.setdefault(id(network), _plain(network))
            found.append(Pass(plain, given[0].detach().clone(), out.requires_grad))

    for name, module in trainer.method.named_modules():
        if name.rpartition(".")[2] in PARTS:
            hooks.append(module.register_forward_hook(record))
    trainer.step()
    for hook in hooks:
        hook.remove()
    return found


def _plain(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    network._forward_hooks.clear()
    for layer in network.modules():
        if isinstance(layer, BatchNorm):
            layer.groups = 1
    return network


def repeated(found: list[Pass], trainer: Trainer, steps: int) -> Callable[[], Round]:
    """Rounds of the passes of so many steps."""

    def run() -> Round:
        with Clock() as clock:
            for _ in range(steps):
                for each in found:
                    each.run(trainer.precision)
        return {**clock.result(), "count": steps * trainer.local_batch}

    return run


def flops(work: Callable[[], object]) -> int:
    """Floating point operations of products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    total: int = counter.get_total_flops()
    return total


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    steps = 3 if chosen.quick else 20
    record = Record("recipes", chosen.quick, machine(None), {"scale": "laptop", "steps": steps})
    precision: torch.dtype | None = hardware.pick_precision(CPU)
    contestants, work, passed = [], {}, {}
    for name, recipe in RECIPES.items():
        if recipe.epochs == 0 or recipe.needs_labels:
            continue
        experiment = resolve(name, scale="laptop").experiment
        dataset = load(experiment.data, root=chosen.data_root)
        trainer = Trainer(experiment, dataset, device=CPU, precision=precision)
        run = our_steps(trainer, steps)
        work[name] = flops(trainer.step)
        contestants.append((Measure(STEP, name, "images"), run))
        found = passes(trainer)
        passed[name] = flops(repeated(found, trainer, 1))
        if passed[name] >= ENOUGH * work[name]:
            alone = repeated(found, trainer, steps)
            contestants.append((Measure(PASSES, name, "images"), alone))
    record.measures = interleave(contestants, rounds=chosen.rounds)
    explain(record.measures, work, passed)
    record.finish()


def explain(measures: list[Measure], work: dict[str, int], passed: dict[str, int]) -> None:
    """Write the ratios into the notes of the steps."""
    of_step = {m.contestant: m for m in measures if m.case == STEP}
    alone = {m.contestant: 1 / m.median() for m in measures if m.case == PASSES}
    reference = of_step[REFERENCE]
    rate = alone[REFERENCE] / passed[REFERENCE]
    # SimCLR's own rest counts as any other's.
    alone = {name: t + (work[name] - passed[name]) * rate for name, t in alone.items()}
    for name, measure in of_step.items():
        slower = reference.times(measure)
        notes = [f"time x {slower:.2f}", f"arithmetic x {work[name] / work[REFERENCE]:.2f}"]
        if name in alone:
            explained = alone[name] / alone[REFERENCE]
            notes.append(f"passes x {explained:.2f} (time over it {slower / explained:.2f})")
        measure.note = ", ".join(notes)


if __name__ == "__main__":
    main()
