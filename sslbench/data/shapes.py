"""The built-in procedural set: ten shapes, each with a pattern of its own; all else is nuisance."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sslbench.data.dataset import Raw
from sslbench.data.drawing import (
    TEST_OFFSET,
    WAVES,
    Draws,
    clutter,
    covered,
    drawn,
    figures,
    grid,
    ground_colours,
    instances,
    lamp,
    light,
    object_colours,
    quantised,
    relief,
    shaded,
)
from sslbench.data.split import Split
from sslbench.recipes.specs import Shapes


def shapes(spec: Shapes) -> Raw:
    """Both halves, on the CPU: an object in every image, its class that of the image.

    Image i has class i modulo `num_classes`: a prefix of the set is balanced too.

    Raises:
        UserError: memory does not suffice.
    """
    # Measured: 3 bytes a pixel of the image, 1 of the mask, 4 of the depth.
    return drawn(spec, partial(render, spec), kept=8, passing=100)


def render(spec: Shapes, indices: Tensor) -> Split:
    """The images at some int64 indices (N), with labels, boxes, masks and depth."""
    labels = indices % TEST_OFFSET % spec.num_classes
    pose = Draws(spec.seed, "shapes pose", indices, 5)
    x, y = (pose.between(-spec.shift, spec.shift) for _ in range(2))
    size, angle = pose.between(*spec.size), pose.between(-spec.rotation, spec.rotation)
    phase = pose.between(0, 1)
    distance, second = figures(labels, x, y, size, angle, phase, spec.resolution)  # N×H×W

    looks = Draws(spec.seed, "shapes looks", indices, 18 + 4 * WAVES)
    height = relief(distance)
    surface = torch.lerp(*object_colours(looks), second[:, None])
    backgrounds = ground_colours(looks)
    surface = surface * light(height, *lamp(looks))[:, None]
    right, down = grid(spec.resolution)
    ground = torch.lerp(*backgrounds, clutter(looks, right, down)[:, None])
    image = covered(shaded(ground, distance), surface, distance)
    image = image * looks.between(0.75, 1.1)[:, None]

    masks = distance < 0
    return Split(
        images=quantised(image),
        labels=labels,
        instances=instances(torch.arange(len(indices)), labels, masks, None),
        depth=_depth(looks, right, down, height, masks),
    )


def _depth(looks: Draws, x: Tensor, y: Tensor, height: Tensor, masks: Tensor) -> Tensor:
    """Distance from the camera, N×H×W: a tilted plane, the object floating before it."""
    plane = 2 + looks.between(-0.3, 0.3) * x + looks.between(-0.3, 0.3) * y
    front = plane - looks.between(0.1, 0.5) - height
    return torch.where(masks, front, plane)
