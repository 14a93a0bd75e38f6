"""What a run costs: the operations of a forward pass, which are counted, and the time of a step."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sslbench import distributed
from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.methods import Method
from sslbench.recipes.recipe import Recipe
from sslbench.views import list_views


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


def cost(method: Method, recipe: Recipe, times: StepTimes, *, resolution: int) -> dict[str, float]:
    """Of a finished run what is known of `gflops`, as `forward_gflops` has it, and of `step_ms`,
    the median time of a training step; nothing of a run that trained nothing."""
    if recipe.epochs == 0:
        return {}
    found = {
        "gflops": forward_gflops(method, recipe, resolution=resolution),
        "step_ms": times.median(),
    }
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
    with contextlib.ExitStack() as stack:
        counter = stack.enter_context(FlopCounterMode(display=False))
        # As products of matrices, which are counted, on whatever device it trained.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for context in (torch.random.fork_rng(devices=[]), torch.no_grad(), distributed.alone()):
            stack.enter_context(context)
        stack.enter_context(_without_autocast())
        try:
            _hollow(method)(_batch(recipe, resolution))
        except Exception:  # a plugin's method, say; a run that has finished is not lost for this
            return None
    return float(counter.get_total_flops()) / recipe.batch_size / 1e9


def _hollow(method: Method) -> Method:
    """A copy whose parameters and buffers have no memory."""
    copies: dict[int, Any] = {id(x): torch.empty_like(x, device="meta") for x in method.buffers()}
    for x in method.parameters():
        copies[id(x)] = nn.Parameter(torch.empty_like(x, device="meta"), x.requires_grad)
    return copy.deepcopy(method, copies)  # takes these as copies already made


def _batch(recipe: Recipe, resolution: int) -> Batch:
    """A batch of the recipe's views, without memory."""
    count, drawn = recipe.batch_size, list_views(recipe.views)
    with torch.device("meta"):
        made = [
            ViewBatch(
                torch.empty(count, 3, side, side),
                torch.empty(count, 4),
                torch.empty(count, dtype=torch.bool),
            )
            for side in (view.size or resolution for view in drawn)
        ]
        rows = torch.empty(count, dtype=torch.int64)
        boxes = torch.empty(count, 4, 4) if recipe.needs_boxes else None
    labels = rows if recipe.needs_labels else None
    return Batch(made, rows, labels, Clock(), boxes, order=rows)


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """torch refuses autocast of the meta device, where there are no numbers to round."""
    before: Any = torch.autocast
    torch.autocast = _Nothing  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.autocast = before  # type: ignore[misc]


class _Nothing(contextlib.nullcontext[None]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
