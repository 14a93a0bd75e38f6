"""A training step as one CUDA graph: captured once a phase, then replayed with other inputs.

A small network's step is thousands of kernels of some microseconds each, which the host launches
one by one; a replay launches all of them at once. No GPU has run this yet: tests run it with graphs
in software (tests/fake_graph.py), and `benchmarks/gpu_sound.py` compares it with plain steps.
Source: PyTorch's documentation, "CUDA Graphs", the example of whole-network capture.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor

from sslbench import distributed
from sslbench.data.streaming.images import Streamed
from sslbench.engine.inputs import Part
from sslbench.errors import first_line
from sslbench.methods import StepOutput
from sslbench.recipes.code import plugins_of
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.specs import LAMB

WARM_UP = 3  # plain steps of a phase before it is captured, as in torch's example


def reason_against(
    experiment: Experiment, images: Tensor | Streamed, device: torch.device
) -> str | None:
    """Why this run's steps cannot be replayed; None if they can."""
    recipe = experiment.recipe
    reasons = {
        "there is no GPU": device.type != "cuda",
        "several processes exchange gradients": distributed.world_size() > 1,
        "images are streamed": isinstance(images, Streamed),
        "a plugin's code may keep numbers on the host": bool(plugins_of(experiment)),
        "LAMB counts its steps on the host": isinstance(recipe.optimizer, LAMB),
        "drop path is seeded for each part of an accumulated batch": recipe.accumulate > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def graphed(
    experiment: Experiment,
    images: Tensor | Streamed,
    device: torch.device,
    work: Callable[[Iterable[Part]], StepOutput],
    optimizer: torch.optim.Optimizer,
) -> Graphed | str:
    """What takes a run's steps where they can be replayed; else why they cannot, which it tells."""
    reason = reason_against(experiment, images, device)
    if reason is None:
        return Graphed(work, optimizer)
    warnings.warn(f"Steps are not replayed: {reason}.", RuntimeWarning, stacklevel=2)
    return reason


def told(steps: Graphed | str) -> str:
    """What run.json says of a run that was to replay its steps: "replayed", or why it did not."""
    if isinstance(steps, str):
        return steps
    return steps.refused or ("replayed" if steps.captures else "no phase lasted long enough")


class Graphed:
    """Steps of one run, plain at first and then replayed.

    A phase (`Method.before_step`) that lasts for more than `WARM_UP` steps is captured; the
    next phase begins anew. One that changes in every step is never captured.

    Args:
        work: the device's part of a step (`Trainer.work`).
        optimizer: whose rates lie on the device.
    Attributes:
        refused: why there is no graph after all, once a capture has failed.
        captures: how many phases were captured.
    """

    def __init__(
        self, work: Callable[[Iterable[Part]], StepOutput], optimizer: torch.optim.Optimizer
    ) -> None:
        self.refused: str | None = None
        self.captures = 0
        self._work, self._optimizer = work, optimizer
        self._stream = torch.cuda.Stream()
        self._part: Part | None = None
        self._phase: Hashable = None
        self._lasted = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: StepOutput | None = None

    def __call__(self, parts: Iterable[Part], phase: Hashable) -> StepOutput:
        """One step. Its embeddings and metrics are overwritten by the next one."""
        if phase != self._phase:
            if self._graph is not None:
                torch.cuda.synchronize()  # its last replay may be running in the memory it frees
            self._phase, self._lasted, self._graph, self._output = phase, 0, None, None
        (part,) = parts
        self._part = placed(part, self._part)
        self._lasted += 1
        if self._graph is None and self._lasted > WARM_UP and self.refused is None:
            self._capture(self._part)
        if self._graph is None or self._output is None:
            return self._plainly(self._part)
        self._graph.replay()
        # Losses are kept until the next log point.
        return replace(self._output, loss=self._output.loss.clone())

    def _plainly(self, part: Part) -> StepOutput:
        """On a stream of its own: what a step sets up for good must not be the default stream's."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            output = self._work([part])
        torch.cuda.current_stream().wait_stream(self._stream)
        return output

    def _capture(self, part: Part) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with _capturable(self._optimizer), torch.cuda.graph(graph):
                output = self._work([part])
        except RuntimeError as error:
            self.refused = f"capturing failed: {first_line(error)}"
            warnings.warn(f"Steps are not replayed: {self.refused}.", RuntimeWarning, stacklevel=2)
            self._optimizer.zero_grad(set_to_none=True)
            return
        self._graph, self.captures = graph, self.captures + 1
        self._output = replace(output, loss=output.loss.detach(), carry=None)


def placed(part: Part, held: Part | None) -> Part:
    """The inputs where the captured step reads them: `held`, or copies that stay from now on."""
    if held is None:
        given = {f.name: getattr(part, f.name) for f in fields(part)}
        return replace(part, **{n: x.clone() for n, x in given.items() if x is not None})
    for field in fields(part):
        new = getattr(part, field.name)
        if new is not None:
            getattr(held, field.name).copy_(new, non_blocking=True)
    return held


@contextlib.contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """torch's Adam refuses a capture otherwise; its fused kernel counts on the device either way,
    and warns of the setting where it runs without a capture."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False
