"""What one forward of a method gives the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn


@dataclass
class StepOutput:
    """`loss`: scalar, mean over this process's images. `embeddings`: N×D, detached, what the
    collapse monitor looks at. `metrics`: detached scalars by name. `keys`: n×D projections to
    remember (a queue, a memory bank), or None; `indices`: n int64, the images they are of.
    `target_embeddings`, `target_scores`: with prototypes, of each global view what was scored,
    n×D, and its scores n×H×K, detached; else None."""

    loss: Tensor
    embeddings: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    keys: Tensor | None = None
    indices: Tensor | None = None
    target_embeddings: list[Tensor] | None = None
    target_scores: list[Tensor] | None = None


def mean_output(outputs: Sequence[StepOutput]) -> StepOutput:
    """The output of an accumulated batch: loss and metrics are means over its parts, which are of
    equal size, all else is the last part's."""
    last = outputs[-1]
    if len(outputs) == 1:
        return last
    metrics = {k: torch.stack([o.metrics[k] for o in outputs]).mean(0) for k in last.metrics}
    loss = torch.stack([o.loss.detach() for o in outputs]).mean()
    return replace(last, loss=loss, metrics=metrics)


def width(module: nn.Module, name: str) -> int:
    """An integer attribute of an encoder (`num_features`) or a head (`out_features`)."""
    value = getattr(module, name)
    assert isinstance(value, int)
    return value
