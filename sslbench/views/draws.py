"""What is random in a view, and where its pixels lie in the source.

Every number an operation draws has a fixed column, so switching one operation off leaves the
others' draws as they were. A view's draws are N×40 uniforms:

    crop      0-21   ten attempts' area, ten attempts' aspect, top, left
    flip     22      chosen
    jitter   23-28   chosen, brightness, contrast, saturation, hue, order
    grayscale 29     chosen
    blur     30-31   chosen, sigma
    solarize 32      chosen
    cutout   33-35   chosen, centre row, centre column
    rotate   36-37   chosen, quarter turns
    noise    38      chosen (the noise itself has a stream of its own)
    sobel    39      chosen
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sslbench import streams
from sslbench.recipes.specs import Op

COLUMNS: dict[Op, slice] = {
    "crop": slice(0, 22),
    "flip": slice(22, 23),
    "jitter": slice(23, 29),
    "grayscale": slice(29, 30),
    "blur": slice(30, 32),
    "solarize": slice(32, 33),
    "cutout": slice(33, 36),
    "rotate": slice(36, 38),
    "noise": slice(38, 39),
    "sobel": slice(39, 40),
}
NUM_COLUMNS = 40
_NOISE_KEY = 0x2545F4914F6CDD1D  # separates the pixel noise from the parameters


class Source(NamedTuple):
    """Where a view's draws come from: the stream of its `key`; of the operations `shared`, the
    stream of another view, `of`."""

    key: int | Tensor
    shared: tuple[Op, ...] = ()
    of: int | Tensor = 0


class Draws(NamedTuple):
    """What is random in one view of N samples: N×NUM_COLUMNS in [0, 1), and the stream and the
    sample of each row's pixel noise, N int64 each.

    Of L views of a kind it has L·N rows, view by view.
    """

    uniforms: Tensor
    noise_keys: Tensor
    samples: Tensor

    def of(self, op: Op) -> Tensor:
        return self.uniforms[:, COLUMNS[op]]


def draw(sources: Sequence[Source], samples: Tensor) -> Draws:
    """All random numbers of L views from these sources, for N samples."""
    keys = [(s.of if "noise" in s.shared else s.key) ^ _NOISE_KEY for s in sources]
    return Draws(
        torch.cat([_uniforms(source, samples) for source in sources]),
        torch.cat([torch.zeros_like(samples) + key for key in keys]),
        samples.repeat(len(sources)),
    )


def _uniforms(source: Source, samples: Tensor) -> Tensor:
    """N×NUM_COLUMNS in [0, 1)."""
    uniforms = streams.uniform(source.key, samples, NUM_COLUMNS)
    if source.shared:
        others = streams.uniform(source.of, samples, NUM_COLUMNS)
        for op in source.shared:
            uniforms[:, COLUMNS[op]] = others[:, COLUMNS[op]]
    return uniforms


class Place(NamedTuple):
    """Where the pixels of N images come from: their side (height, width), their N×4 source boxes,
    N bool mirrored."""

    side: tuple[int, int]
    box: Tensor
    flipped: Tensor

    def repeat(self, times: int) -> Place:
        """The batch so many times, one after the other."""
        return Place(self.side, self.box.repeat(times, 1), self.flipped.repeat(times))


class Frame(NamedTuple):
    """Images N×3×h×w, their N×4 source boxes, N bool mirrored."""

    images: Tensor
    box: Tensor
    flipped: Tensor
