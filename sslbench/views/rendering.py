"""The views of one kind, from images and draws to normalised pixels.

On a CPU the numbers of all rows are made first, then the pixels chunk by chunk, so that a chunk
stays in the cache; on another device everything is one pass, which compiled code takes as one. So
it does on a CPU with images of 32 pixels, where calls cost more than the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.views.draws import Draws, Frame, Place
from sslbench.views.fusing import ISOLATED, Pixels, fused, fusing
from sslbench.views.geometry import full_boxes
from sslbench.views.pipeline import Pipeline
from sslbench.views.rows import equal_chunks
from sslbench.views.steps import Numbers

_ONE_GRAPH = 3 * 32 * 32  # floats of a row, up to which one graph is faster than chunks


class Renderer:
    """Renders all views of one kind.

    Args:
        pipeline: the kind's.
        common: the crop under all views of an image, if any.
        compile: with torch.compile: all in one graph, or on a CPU the dear parts of larger images.
    """

    def __init__(self, pipeline: Pipeline, common: Pipeline | None, *, compile: bool) -> None:
        self._pipeline, self._common = pipeline, common
        self._whole, self._one_graph = self._render_whole, False
        self._compiled: dict[Pixels, Pixels] | None = {} if compile else None
        # Inductor multiplies the counters of pixel noise to numbers that no int64 holds.
        steps = {*pipeline.steps, *(common.steps if common else ())}
        if compile and "noise" not in steps:
            self._whole, self._one_graph = torch.compile(self._whole, **ISOLATED), True

    def __call__(
        self, images: Tensor, shared: Draws | None, draws: Draws, scale: Tensor, shift: Tensor
    ) -> Frame:
        """L views of each of N images, view by view: L·N rows.

        Args:
            images: N×3×H×W uint8.
            shared: N rows, of the common crop.
            draws: L·N rows.
            scale, shift: 1×3×1×1, the normalisation of the pixels in [0, 1].
        """
        count, side = len(draws.uniforms), self._pipeline.side
        floats = 3 * side * max(side, images.shape[3])  # a crop sums up rows of the source's width
        if images.device.type != "cpu" or (self._one_graph and floats <= _ONE_GRAPH):
            return self._whole(images, shared, draws, scale, shift)
        cropping, numbers, place = self._prepare(images, shared, draws)
        views = torch.empty(count, 3, side, side)
        with fusing(self._compiled):
            for rows in equal_chunks(self._pipeline.order(draws), floats=floats):
                of = rows % len(images)  # the images of these views
                pixels = self._pixels(images.index_select(0, of), _select(cropping, of),
                                      _select(numbers, rows), count=len(rows))  # fmt: skip
                _normalize_into(views, rows, pixels, scale, shift)
        return Frame(views, place.box, place.flipped)

    def _prepare(
        self, images: Tensor, shared: Draws | None, draws: Draws
    ) -> tuple[list[Numbers], list[Numbers], Place]:
        """The numbers of the common crop's steps, of which there may be none, and of the views'."""
        side, device = (images.shape[2], images.shape[3]), images.device
        unflipped = torch.zeros(len(images), dtype=torch.bool, device=device)
        place = Place(side, full_boxes(len(images), side, device), unflipped)
        cropping: list[Numbers] = []
        if self._common is not None and shared is not None:
            cropping, place = self._common.prepare(place, shared)
        return cropping, *self._pipeline.prepare(place, draws)

    def _render_whole(
        self, images: Tensor, shared: Draws | None, draws: Draws, scale: Tensor, shift: Tensor
    ) -> Frame:
        cropping, numbers, place = self._prepare(images, shared, draws)
        count = len(draws.uniforms)
        pixels = self._pixels(images, cropping, numbers, count=count)
        return Frame(torch.addcmul(shift, pixels, scale), place.box, place.flipped)

    def _pixels(
        self, images: Tensor, cropping: Sequence[Numbers], numbers: Sequence[Numbers], *, count: int
    ) -> Tensor:
        if self._common is not None:
            images = self._common.apply(images, cropping, count=len(images))
        return self._pipeline.apply(images, numbers, count=count)


@fused
def _normalize_into(
    views: Tensor, rows: Tensor, pixels: Tensor, scale: Tensor, shift: Tensor
) -> Tensor:
    """The chunk's pixels to their rows of the views."""
    return views.index_copy_(0, rows, torch.addcmul(shift, pixels, scale))


def _select(numbers: Sequence[Numbers], rows: Tensor) -> list[Numbers]:
    return [tuple(each.index_select(0, rows) for each in step) for step in numbers]
