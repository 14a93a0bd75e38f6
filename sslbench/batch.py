"""What a step works on: the views of some images, which images they are, and when it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ViewBatch:
    """One view of each of N images.

    Attributes:
        images: N×3×h×w float32, normalised.
        box: N×4 float (top, left, height, width): the crop, in source pixels.
        flipped: N bool: mirrored left to right. Quarter turns are not part of the geometry.
    """

    images: Tensor
    box: Tensor
    flipped: Tensor


@dataclass(frozen=True)
class Clock:
    """When a step is, for what runs on the device.

    In training all three are scalars on the device: kernels read them there, so that a step can be
    replayed with other ones. What the host decides by them, it decides from a `Moment`.

    Attributes:
        key: int64, of this step's random numbers (`streams`), equal on all processes.
        progress: share of the training steps already done, 0 <= progress < 1.
        epoch: epochs already done, with the fraction of the running one.
    """

    key: int | Tensor = 0
    progress: float | Tensor = 0.0
    epoch: float | Tensor = 0.0


@dataclass(frozen=True)
class Moment:
    """When a step is, for what the host decides before it.

    Attributes:
        progress, epoch: as a `Clock`'s.
        images: that the step takes, of all processes and all parts of an accumulated batch.
    """

    progress: float = 0.0
    epoch: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class Batch:
    """This process's images of one step.

    Attributes:
        views: V of each image: the global views first, then the local crops, which may be of
            another size.
        indices: N int64, which training images these are; None of a stream without fixed images.
        labels: N int64 class numbers, where the method needs them.
        clock: when.
        boxes: N×M×4 float (left, top, right, bottom) in source pixels, of the objects in each
            image, NaN after the last one; where the recipe needs them.
        order: int64, a permutation of the images of all processes, where the method shuffles them.
    """

    views: list[ViewBatch]
    indices: Tensor | None = None
    labels: Tensor | None = None
    clock: Clock = Clock()
    boxes: Tensor | None = None
    order: Tensor | None = None
