"""What a run costs: the operations of a forward pass, which are counted, and the time of a step."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from sslbench import distributed
from sslbench.engine.hollow import hollow, hollow_batch, without_memory
from sslbench.methods import Method
from sslbench.recipes.recipe import Recipe


@dataclass
class StepTimes:
    """How long steps take, by the windows between log points.

    A device is waited for at log points alone, so that a step inside of a window has no time of
    its own. Checkpoints and the kNN monitor lie between the windows.

    Attributes:
        milliseconds: of a step, the mean of each window, without the first window of an
            execution, in which code is compiled and memory allocated.
    """

    milliseconds: list[float] = field(default_factory=list)
    _begun: tuple[int, float] | None = None
    _warm: bool = False

    def begin(self, step: int) -> None:
        """A window begins after so many steps; the device is idle."""
        self._begun = (step, time.perf_counter())

    def end(self, step: int) -> None:
        """The window ends after so many steps; the device is idle."""
        if self._begun is not None and self._warm and step > self._begun[0]:
            first, since = self._begun
            self.milliseconds.append(1000 * (time.perf_counter() - since) / (step - first))
        self._warm, self._begun = True, None

    def median(self) -> float | None:
        """Of the windows; None before there are any."""
        return statistics.median(self.milliseconds) if self.milliseconds else None


_COUNTED: dict[Any, float | None] = {}  # by this process


def cost(method: Method, recipe: Recipe, times: StepTimes, *, resolution: int) -> dict[str, float]:
    """Of a finished run what is known of `gflops`, as `forward_gflops` has it, and of `step_ms`,
    the median time of a training step; nothing of a run that trained nothing."""
    if recipe.epochs == 0:
        return {}
    # A run that was resumed has the count of the one that it goes on with, and so have other seeds.
    shapes = tuple(x.shape for x in [*method.parameters(), *method.buffers()])
    key = (type(method), recipe.digest(), resolution, distributed.world_size(), shapes)
    if key not in _COUNTED:
        _COUNTED[key] = forward_gflops(method, recipe, resolution=resolution)
    found = {"gflops": _COUNTED[key], "step_ms": times.median()}
    return {name: value for name, value in found.items() if value is not None}


def forward_gflops(method: Method, recipe: Recipe, *, resolution: int) -> float | None:
    """10^9 floating-point operations of a training step's forward pass, for each image.

    All that the forward does with an image counts: all views, every network, decoder, heads and
    target among them, and the comparisons with the other images of the batch. Matrix products and
    convolutions are counted, a multiplication and an addition as two; norms, activations and the
    augmentation are not, nor are the backward pass and the optimiser. It runs on the meta device:
    nothing is computed, and nothing of the method is changed.

    Args:
        recipe: gives the views and the batch, which is one process's here.
        resolution: side of the data's images, pixels.
    Returns:
        None of a method that looks at the values of tensors, which there are none of.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad(), without_memory():
        try:
            hollow(method)(hollow_batch(recipe, resolution))
        except Exception:  # a plugin's method, say; a run that has finished is not lost for this
            return None
    return float(counter.get_total_flops()) / recipe.batch_size / 1e9
