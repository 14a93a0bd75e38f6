"""The operations of a view, each in two halves: `prepare` turns a view's draws into numbers for
every row, `apply` works on pixels.

The numbers of a whole batch are made at once, and the pixels in chunks where that is faster: small
tensors cost a CPU their calls, large ones its cache. A step's first number is N bool, the rows
that it changes; only a crop changes all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from sslbench import streams
from sslbench.recipes.specs import Op
from sslbench.views import color, filters, geometry
from sslbench.views.draws import Draws, Place

if TYPE_CHECKING:
    from sslbench.views.pipeline import Pipeline

Numbers = tuple[Tensor, ...]  # each with a row for every image


class Step(NamedTuple):
    """Both halves of an operation."""

    prepare: Callable[[Pipeline, Place, Draws], tuple[Numbers, Place]]
    apply: Callable[..., Tensor]  # of the pipeline, images and the numbers


def _prepare_crop(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    view, side, (height, width) = pipeline.view, pipeline.side, place.side
    if view.crop is None and place.side == (side, side):
        return _prepare_flip(pipeline, place, draws) if pipeline.flip_with_crop else ((), place)
    largest, interpolation = place.side, "bilinear"
    if view.crop is None:
        inner = geometry.full_boxes(len(draws.uniforms), place.side, place.box.device)
    else:
        inner = geometry.crop_boxes(draws.of("crop"), view.crop, height=height, width=width)
        largest = geometry.largest_box(view.crop, height=height, width=width)
        interpolation = view.crop.interpolation
    # Mirrored weights cost nothing; a flip of its own is one more pass over the pixels.
    chosen = pipeline.chosen("flip", draws) if pipeline.flip_with_crop else None
    numbers = geometry.resampling(
        inner, chosen, source=place.side, largest=largest, side=side, interpolation=interpolation
    )
    place = place.repeat(len(inner) // len(place.box))
    flipped = place.flipped if chosen is None else place.flipped ^ chosen
    box = geometry.compose(place.box, place.flipped, inner, side=place.side)
    return numbers, Place((side, side), box, flipped)


def _crop(pipeline: Pipeline, images: Tensor, *numbers: Tensor) -> Tensor:
    if len(numbers) < 4:  # of that side already: as it is, or mirrored
        return _flip(pipeline, images, *numbers) if numbers else images
    # Rounding leaves [0, 1], and bicubic's overshoot, which 8-bit images lose too.
    return geometry.resample(images, *numbers).clamp_(0.0, 1.0)


def _prepare_flip(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    chosen = pipeline.chosen("flip", draws)
    return (chosen,), place._replace(flipped=place.flipped ^ chosen)


def _flip(pipeline: Pipeline, images: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def _prepare_jitter(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    jitter, u = pipeline.view.jitter, draws.of("jitter")
    assert jitter is not None
    chosen = pipeline.chosen("jitter", draws)
    factors = color.jitter_factors(u[:, 1:5], jitter)
    identity = torch.where(torch.arange(4, device=u.device) == color.HUE, 0.0, 1.0)  # of no effect
    factors = torch.where(chosen[:, None], factors, identity)
    positions = color.jitter_positions(u[:, 5])
    blends = color.jitter_blends(factors, positions, has_hue=jitter.hue > 0)
    return (chosen, factors[:, color.HUE], *blends), place


def _jitter(pipeline: Pipeline, images: Tensor, *numbers: Tensor) -> Tensor:
    return color.blend_and_turn(images, *numbers)


def _prepare_blur(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    blur = pipeline.view.blur
    assert blur is not None
    low, high = blur.sigma
    sigma = low + (high - low) * draws.of("blur")[:, 1]
    # Of this image's side, not of 224 pixels: SimCLR's rule is a tenth.
    kernel = blur.kernel or filters.blur_kernel_side(min(place.side))
    chosen = pipeline.chosen("blur", draws)
    return (chosen, filters.blur_taps(sigma, chosen, kernel=kernel)), place


def _prepare_cutout(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    return (pipeline.chosen("cutout", draws), draws.of("cutout")[:, 1:]), place


def _cutout(pipeline: Pipeline, images: Tensor, chosen: Tensor, centre: Tensor) -> Tensor:
    return filters.cutout(images, centre, chosen, fill=pipeline.mean)


def _prepare_rotate(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    # 0 is one of the four: a quarter of the chosen images stay upright.
    chosen = pipeline.chosen("rotate", draws)
    turns = torch.floor(draws.of("rotate")[:, 1] * 4).to(torch.int64)
    return (chosen, torch.where(chosen, turns, 0)), place


def _prepare_noise(pipeline: Pipeline, place: Place, draws: Draws) -> tuple[Numbers, Place]:
    return (pipeline.chosen("noise", draws), draws.noise_keys, draws.samples), place


def _noise(
    pipeline: Pipeline, images: Tensor, chosen: Tensor, keys: Tensor, samples: Tensor
) -> Tensor:
    noise = streams.normal(keys[:, None], samples, images[0].numel()).view_as(images)
    return filters.gaussian_noise(images, noise, chosen)


def _solarize(pipeline: Pipeline, images: Tensor, chosen: Tensor) -> Tensor:
    return color.solarize(images, chosen, threshold=pipeline.view.solarize_threshold)


def _chosen(op: Op) -> Callable[[Pipeline, Place, Draws], tuple[Numbers, Place]]:
    """The first half of a step that needs to know no more than the rows it changes."""
    return lambda pipeline, place, draws: ((pipeline.chosen(op, draws),), place)


OPS: dict[Op, Step] = {
    "crop": Step(_prepare_crop, _crop),
    "flip": Step(_prepare_flip, _flip),
    "jitter": Step(_prepare_jitter, _jitter),
    "grayscale": Step(_chosen("grayscale"), lambda _, *numbers: color.grayscale(*numbers)),
    "blur": Step(_prepare_blur, lambda _, images, __, taps: filters.weighted_blur(images, taps)),
    "solarize": Step(_chosen("solarize"), _solarize),
    "cutout": Step(_prepare_cutout, _cutout),
    "rotate": Step(_prepare_rotate, lambda _, images, __, turns: filters.rotate(images, turns)),
    "noise": Step(_prepare_noise, _noise),
    "sobel": Step(_chosen("sobel"), lambda _, *numbers: filters.sobel(*numbers)),
}
