"""Batches of uint8 images in, augmented views out: on the images' device, parameters per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.batch import ViewBatch
from sslbench.recipes.specs import View, Views
from sslbench.views.color import to_unit
from sslbench.views.draws import Source, draw
from sslbench.views.pipeline import Pipeline
from sslbench.views.rendering import Renderer

_VIEW_KEY = 0xD1342543DE82EF95  # odd; the distance between the streams of neighbouring views


class Augmenter:
    """Draws the views of `views` for batches of images.

    A view is a function of (key, sample, its index), so a sample gets the same ones in whatever
    batch and process it is. Nothing waits for the device, and no shape depends on a random number.

    Args:
        views: what to draw; `common`, if any, is one crop under all views of an image.
        resolution: side of a view that names no `size`, in pixels.
        mean, std: three channel values of the data in [0, 1], to normalise with.
        compile: fuse the pixel work with torch.compile (on a CPU this needs a C++ compiler).
    Raises:
        UserError: a view switches on an operation that its order does not name.
    """

    def __init__(
        self, views: Views, *, resolution: int, mean: Sequence[float], std: Sequence[float],
        compile: bool = False,
    ) -> None:  # fmt: skip
        self._mean, self._std = tuple(mean), tuple(std)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._shared = views.shared
        kinds = list_views(views)
        # Views of a kind are rendered together.
        self._indices = {view: [i for i, v in enumerate(kinds) if v == view] for view in kinds}
        common = None
        if views.common is not None:
            common = Pipeline(views.common, side=resolution, mean=mean)
        self._has_common = common is not None
        self._renderers = {
            view: Renderer(Pipeline(view, side=resolution, mean=mean), common, compile=compile)
            for view in self._indices
        }

    def __call__(self, images: Tensor, *, key: int | Tensor, samples: Tensor) -> list[ViewBatch]:
        """The views of each image, in the order first, second, shared, locals.

        Args:
            images: N×3×H×W uint8.
            key: from `streams.stream_key`, another one every step; a number or an int64 scalar.
            samples: N int64 positions in the global batch, on the images' device.
        """
        # In bf16 the products of the resampling would leave 8 bits of a pixel.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            scale, shift = self._normalization(images.device)
            # Drawn outside the compiled code, which would be compiled anew for every key.
            shared = draw([Source(view_key(key, 0))], samples) if self._has_common else None
            batches: dict[int, ViewBatch] = {}
            for view, indices in self._indices.items():
                draws = draw([self._source(key, index) for index in indices], samples)
                frame = self._renderers[view](images, shared, draws, scale, shift)
                parts = zip(*(part.chunk(len(indices)) for part in frame), strict=True)
                batches |= zip(indices, (ViewBatch(*part) for part in parts), strict=True)
            return [batches[index] for index in range(len(batches))]

    def _source(self, key: int | Tensor, index: int) -> Source:
        """Of the view in that place: those behind the second share with the first."""
        own, place = view_key(key, index + 1), index - 2
        if not 0 <= place < len(self._shared):
            return Source(own)
        return Source(own, self._shared[place], view_key(key, 1))

    def _normalization(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Kept per device, so that no step copies from the host."""
        if device not in self._constants:
            self._constants[device] = affine(self._mean, self._std, device)
        return self._constants[device]


def view_key(key: int | Tensor, index: int) -> int | Tensor:
    """The int64 key of one view's stream; index 0 is the common crop's, view v has v + 1."""
    if isinstance(key, Tensor):
        return key + _wrapped(index * _VIEW_KEY)  # int64 wraps
    return _wrapped(key + index * _VIEW_KEY)


def _wrapped(number: int) -> int:
    """As int64."""
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


def list_views(views: Views) -> list[View]:
    """The views of an image in order: first, second, shared, locals."""
    chosen = [views.first]
    if views.num_global == 2:
        chosen.append(views.second or views.first)
    chosen += [views.first] * len(views.shared)
    if views.local is not None:
        chosen += [views.local] * views.num_local
    return chosen


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """N×3×H×W uint8 images as float32, less the mean, over the standard deviation."""
    scale, shift = affine(mean, std, images.device)
    return torch.addcmul(shift, to_unit(images), scale)


def affine(
    mean: Sequence[float], std: Sequence[float], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Normalisation as `x * scale + shift`: two 1×3×1×1 tensors."""
    scale = 1.0 / torch.tensor(std, device=device).view(1, -1, 1, 1)
    return scale, -scale * torch.tensor(mean, device=device).view(1, -1, 1, 1)
