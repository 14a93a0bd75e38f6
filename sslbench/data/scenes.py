"""The built-in sets of several objects: scenes, and clips of scenes in which they move.

A scene is a clip of one frame. Its objects are the shapes with their patterns, each wholly inside
the image, the first the nearest; those of which the first frame shows too little are not drawn at
all, so that every object can be found. Later in a clip one may pass behind another, even wholly: it
has no instance in such a frame.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

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
from sslbench.data.moving import Pose, moved
from sslbench.data.outlines import REACH
from sslbench.data.split import Split
from sslbench.recipes.specs import Clips, Scenes
from sslbench.streams import integers, stream_key

SHOWN = 0.25  # the least part of an object that the first frame shows
_MOST = 8  # objects for which a clip has numbers of its own to draw from
_PAN = 0.02  # the most by which a background moves from frame to frame, in half image sides


def scenes(spec: Scenes) -> Raw:
    """Both halves, on the CPU, unlabelled as a whole: an image has no class of its own.

    Raises:
        UserError: memory does not suffice.
    """
    return _both(spec, 1)


def clips(spec: Clips) -> Raw:
    """Both halves, on the CPU, clip by clip, unlabelled as a whole.

    Raises:
        UserError: memory does not suffice.
    """
    return _both(spec, spec.num_frames)


def _both(spec: Scenes | Clips, frames: int) -> Raw:
    most = spec.num_objects[1]
    # 7 bytes a pixel of image and depth, 1 of every mask; what passes was measured.
    return drawn(spec, partial(render, spec), images=frames, kept=7 + most, passing=100 + 12 * most)


def render(spec: Scenes | Clips, indices: Tensor) -> Split:
    """The scenes or clips at some int64 indices (B), as N = B·F images of F frames each."""
    frames = spec.num_frames if isinstance(spec, Clips) else 1
    clip, time = indices.repeat_interleave(frames), torch.arange(frames).repeat(len(indices))
    found = _figures(spec, indices, frames)
    masks, kept = _seen(found.distance < 0, found.image, found.slot, len(clip), frames)
    setting = Draws(spec.seed, f"{spec.set_name} setting", clip, 12 + 4 * WAVES)
    lamps, brightness = lamp(setting), setting.between(0.75, 1.1)  # N×1×1 each
    canvas, depth = _ground(setting, spec.resolution, time)
    for slot in reversed(range(spec.num_objects[1])):  # what is nearer covers what was drawn
        rows = (kept & (found.slot == slot)).nonzero().flatten()
        _paint(spec, found.of(rows), slot, lamps, canvas, depth)
    track = found.slot[kept] if frames > 1 else None
    shown = instances(found.image[kept], found.label[kept], masks[kept], track)
    return Split(
        images=quantised(canvas * brightness[:, None]),
        multilabels=_multilabels(shown.image, shown.label, len(canvas), spec.num_classes),
        instances=shown,
        depth=depth,
        clip=clip % TEST_OFFSET if frames > 1 else None,
        frame=time if frames > 1 else None,
    )


class _Figures(NamedTuple):
    """M figures: every object in every image that it is in, by image, the nearest first.

    `image`, `slot` (0 is the nearest), `key` (at which the object's numbers are drawn) and `label`
    are int64 M; `distance` from the outline and `second`, the share of the pattern's second
    colour, M×H×W.
    """

    image: Tensor
    slot: Tensor
    key: Tensor
    label: Tensor
    distance: Tensor
    second: Tensor

    def of(self, rows: Tensor) -> _Figures:
        return _Figures(*(part[rows] for part in self))


def _figures(spec: Scenes | Clips, indices: Tensor, frames: int) -> _Figures:
    owner, slot, key = _cast(spec, indices)  # O objects, by clip, the nearest first
    draws = Draws(spec.seed, f"{spec.set_name} pose", key, 14)
    label = draws.between(0, spec.num_classes).flatten().long()
    poses, phase = _poses(spec, draws, frames), draws.between(0, 1)

    image = (owner[:, None] * frames + torch.arange(frames)).flatten()  # M = O·F
    order = torch.argsort(image * _MOST + slot.repeat_interleave(frames))
    who = torch.arange(len(owner)).repeat_interleave(frames)[order]
    x, y, size, angle = (part.flatten()[order, None, None] for part in poses)
    seen = figures(label[who], x, y, size, angle, phase[who], spec.resolution)
    return _Figures(image[order], slot[who], key[who], label[who], *seen)


def _paint(
    spec: Scenes | Clips,
    found: _Figures,
    slot: int,
    lamps: tuple[Tensor, Tensor],
    canvas: Tensor,
    depth: Tensor,
) -> None:
    """Draw the figures of one slot, at most one an image, before what N×3×H×W and N×H×W hold."""
    looks = Draws(spec.seed, f"{spec.set_name} looks", found.key, 8)
    where, height = found.image, relief(found.distance)
    surface = torch.lerp(*object_colours(looks), found.second[:, None])
    surface = surface * light(height, lamps[0][where], lamps[1][where])[:, None]
    canvas[where] = covered(shaded(canvas[where], found.distance), surface, found.distance)
    front = 0.6 + 0.1 * (slot + looks.between(0, 0.5)) - 0.2 * height
    depth[where] = torch.where(found.distance < 0, front, depth[where])


def _cast(spec: Scenes | Clips, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every object of B clips, int64 O each: the clip's place in the batch, its own place in
    the clip, and the index at which its numbers are drawn."""
    least, most = spec.num_objects
    count = stream_key(spec.seed, f"{spec.set_name} count")
    counts = least + integers(count, indices, 1, high=most - least + 1)[:, 0]
    owner = torch.arange(len(indices)).repeat_interleave(counts)
    slot = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    return owner, slot, indices[owner] * _MOST + slot


def _poses(spec: Scenes | Clips, pose: Draws, frames: int) -> Pose:
    """Where each object is in every frame, O×F each."""
    size = pose.between(*spec.size)
    room = 1 - REACH * size - 1 / spec.resolution  # of the centre, so that no edge is cut off
    x, y = (room * pose.between(-1, 1) for _ in range(2))
    start = Pose(x, y, size, pose.between(-spec.rotation, spec.rotation))
    if frames > 1:
        return moved(start, room, pose, frames)
    return Pose(*(part.flatten(1) for part in start))


def _seen(
    inside: Tensor, image: Tensor, slot: Tensor, images: int, frames: int
) -> tuple[Tensor, Tensor]:
    """What is visible of each of M figures, M×H×W, and whether it is drawn, M: of its clip's first
    frame a part of its object is seen."""
    hidden = torch.zeros(images, *inside.shape[1:], dtype=torch.bool)
    masks, kept = torch.zeros_like(inside), torch.zeros(len(inside), dtype=torch.bool)
    for place in range(int(slot.max()) + 1):
        rows = (slot == place).nonzero().flatten()  # F of each clip that has so many objects
        free = inside[rows] & ~hidden[image[rows]]
        share = free.flatten(1).sum(1) / inside[rows].flatten(1).sum(1).clamp(min=1)
        shown = (share[::frames] >= SHOWN).repeat_interleave(frames)
        rows, free = rows[shown], free[shown]
        masks[rows], kept[rows] = free, True
        hidden[image[rows]] |= free
    return masks, kept


def _ground(setting: Draws, side: int, time: Tensor) -> tuple[Tensor, Tensor]:
    """Backgrounds at some times, N×3×H×W, which drift slowly, and their depth, N×H×W: a tilted
    plane."""
    right, down = grid(side)
    colours = ground_colours(setting)
    pan = [setting.between(-_PAN, _PAN) * time[:, None, None] for _ in range(2)]
    tilt = [setting.between(-0.3, 0.3) for _ in range(2)]
    waves = clutter(setting, right + pan[0], down + pan[1])
    return torch.lerp(*colours, waves[:, None]), 2 + tilt[0] * right + tilt[1] * down


def _multilabels(image: Tensor, label: Tensor, images: int, classes: int) -> Tensor:
    """bool N×C, which classes the instances of each image have."""
    found = torch.zeros(images, classes, dtype=torch.bool)
    found[image, label] = True
    return found
