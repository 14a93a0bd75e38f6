"""What a step reads that no other step reads: tensors on the device, made before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.batch import Clock, Moment
from sslbench.streams import permutation


@dataclass(frozen=True)
class Part:
    """The inputs of one forward: a step, or a part of one where gradients are accumulated.

    Attributes:
        images: N×3×H×W uint8, of this process.
        indices: N int64, which training images these are.
        keys: 2 int64, of the views and of all else that the step draws (`streams`).
        times: 2 float64, `progress` and `epoch` of a `Clock`.
        order: int64, a permutation of the global batch, where the method shuffles it.
    """

    images: Tensor
    indices: Tensor
    keys: Tensor
    times: Tensor
    order: Tensor | None

    def clock(self) -> Clock:
        """When the step is, read from these tensors."""
        return Clock(self.keys[1], self.times[0], self.times[1])


def part_of(
    images: Tensor, indices: Tensor, *, views: int, step: int, moment: Moment, shuffled: int
) -> Part:
    """The inputs of a forward, on the device of the images.

    Args:
        images, indices: as a `Part`'s.
        views, step: the keys of its two streams.
        moment: of the step.
        shuffled: images of the global batch, where the method shuffles it; else 0.
    """
    device = images.device
    # On the host: a permutation is drawn by a generator, which nothing replays.
    order = permutation(step, shuffled) if shuffled else None
    return Part(
        images=images,
        indices=indices.to(device),
        keys=torch.tensor([views, step]).to(device, non_blocking=True),
        times=torch.tensor([moment.progress, moment.epoch], dtype=torch.float64).to(
            device, non_blocking=True
        ),
        order=None if order is None else order.to(device, non_blocking=True),
    )
