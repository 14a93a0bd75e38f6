"""One view's pipeline: the active operations of a `View` in its order, on a whole batch.

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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sslbench import streams
from sslbench.errors import UserError
from sslbench.recipes.specs import Op, View
from sslbench.views import color, filters, geometry

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

# A mirrored image goes through these as its mirror does: a flip behind them joins the crop's.
_MIRROR_SYMMETRIC: frozenset[Op] = frozenset({"jitter", "grayscale", "blur", "solarize"})


class Frame(NamedTuple):
    """Images on their way: N×3×h×w in [0, 1], their N×4 source boxes, N bool mirrored."""

    images: Tensor
    box: Tensor
    flipped: Tensor

    def repeat(self, times: int) -> Frame:
        """The batch so many times, one after the other."""
        if times == 1:
            return self
        repeated = self.images.repeat(times, 1, 1, 1)
        return Frame(repeated, self.box.repeat(times, 1), self.flipped.repeat(times))


class Draws(NamedTuple):
    """What is random in one view of N samples: N×NUM_COLUMNS in [0, 1), N×3·h·w normal.

    Of L views of a kind it has L·N rows, view by view.
    """

    uniforms: Tensor
    noise: Tensor | None

    def of(self, op: Op) -> Tensor:
        return self.uniforms[:, COLUMNS[op]]

    def chosen(self, op: Op, probability: float) -> Tensor:
        """N bool, true with `probability`: an operation's first column decides."""
        return self.uniforms[:, COLUMNS[op].start] < probability


class Source(NamedTuple):
    """Where a view's draws come from: the stream of its `key`; of the operations `shared`, the
    stream of another view, `of`."""

    key: int | Tensor
    shared: tuple[Op, ...] = ()
    of: int | Tensor = 0


class Pipeline:
    """The operations of one view. Called on a frame, it gives the view's frame, not normalised.

    With draws of L views it gives all of them, view by view, in one pass: small crops cost little
    beside what the calls themselves cost.

    Args:
        view: what to do.
        side: output side in pixels, where the view names none.
        mean: the data's channel means, which cutout fills with.
    Raises:
        UserError: an operation is switched on but its order does not name it.
    """

    def __init__(self, view: View, *, side: int, mean: Sequence[float]) -> None:
        self.view, self.side, self.mean = view, view.size or side, mean
        self.steps, self.flip_with_crop = plan(view)

    def draw(self, sources: Sequence[Source], samples: Tensor) -> Draws:
        """All random numbers of L views from these sources, for N samples."""
        noise = None
        if "noise" in self.steps:
            size = 3 * self.side**2
            keys = [s.of if "noise" in s.shared else s.key for s in sources]
            noise = torch.cat([streams.normal(k ^ _NOISE_KEY, samples, size) for k in keys])
        return Draws(torch.cat([_uniforms(source, samples) for source in sources]), noise)

    def __call__(self, frame: Frame, draws: Draws) -> Frame:
        # A crop that comes first takes all L views from one image; any other step needs copies.
        if self.view.crop is None or self.steps[0] != "crop":
            frame = frame.repeat(len(draws.uniforms) // len(frame.images))
        for op in self.steps:
            frame = OPS[op](self, frame, draws)
        return frame


def plan(view: View) -> tuple[tuple[Op, ...], bool]:
    """The steps in order, and whether the crop's resampling flips as well.

    "crop" is always a step: without one it comes first and brings the image to the view's side.
    """
    wanted = view.active()
    unordered = sorted(wanted - set(view.order))
    if unordered:
        raise UserError(f"The view uses {unordered[0]} but its order does not name it; "
                        f"add '{unordered[0]}' to order or switch it off.")  # fmt: skip
    steps: list[Op] = [op for op in view.order if op in wanted]
    if view.crop is None:
        steps.insert(0, "crop")
    if "flip" not in steps:
        return tuple(steps), False
    crop, flip = steps.index("crop"), steps.index("flip")
    joined = crop < flip and _MIRROR_SYMMETRIC.issuperset(steps[crop + 1 : flip])
    if joined:
        steps.remove("flip")
    return tuple(steps), joined


def _uniforms(source: Source, samples: Tensor) -> Tensor:
    """N×NUM_COLUMNS in [0, 1)."""
    uniforms = streams.uniform(source.key, samples, NUM_COLUMNS)
    if source.shared:
        others = streams.uniform(source.of, samples, NUM_COLUMNS)
        for op in source.shared:
            uniforms[:, COLUMNS[op]] = others[:, COLUMNS[op]]
    return uniforms


def _crop(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    view, side = pipeline.view, pipeline.side
    height, width = frame.images.shape[-2:]
    if view.crop is None:
        if (height, width) == (side, side):
            return _flip(pipeline, frame, draws) if pipeline.flip_with_crop else frame
        inner, interpolation = geometry.full_boxes(frame.images), "bilinear"
    else:
        inner = geometry.crop_boxes(draws.of("crop"), view.crop, height=height, width=width)
        interpolation = view.crop.interpolation
    # Mirrored weights cost nothing; a flip of its own is one more pass over the pixels.
    flipped = draws.chosen("flip", view.flip) if pipeline.flip_with_crop else None
    images = geometry.resample(frame.images, inner, flipped, side=side, interpolation=interpolation)
    if interpolation == "bicubic":
        images = images.clamp(0.0, 1.0)  # its overshoot; 8-bit images lose it too
    times = len(inner) // len(frame.box)
    outer, mirrored = frame.box.repeat(times, 1), frame.flipped.repeat(times)
    box = geometry.compose(outer, mirrored, inner, side=(height, width))
    return Frame(images, box, mirrored if flipped is None else mirrored ^ flipped)


def _flip(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    chosen = draws.chosen("flip", pipeline.view.flip)
    images = torch.where(chosen[:, None, None, None], frame.images.flip(3), frame.images)
    return Frame(images, frame.box, frame.flipped ^ chosen)


def _jitter(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    jitter, u = pipeline.view.jitter, draws.of("jitter")
    assert jitter is not None
    chosen = draws.chosen("jitter", jitter.probability)
    factors = color.jitter_factors(u[:, 1:5], jitter)
    identity = torch.where(torch.arange(4, device=u.device) == color.HUE, 0.0, 1.0)  # of no effect
    factors = torch.where(chosen[:, None], factors, identity)
    positions = color.jitter_positions(u[:, 5])
    images = color.color_jitter(frame.images, factors, positions, has_hue=jitter.hue > 0)
    return frame._replace(images=images)


def _grayscale(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    chosen = draws.chosen("grayscale", pipeline.view.grayscale)
    return frame._replace(images=color.grayscale(frame.images, chosen))


def _blur(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    blur = pipeline.view.blur
    assert blur is not None
    low, high = blur.sigma
    sigma = low + (high - low) * draws.of("blur")[:, 1]
    # Of this image's side, not of 224 pixels: SimCLR's rule is a tenth.
    kernel = blur.kernel or filters.blur_kernel_side(min(frame.images.shape[-2:]))
    chosen = draws.chosen("blur", blur.probability)
    return frame._replace(images=filters.gaussian_blur(frame.images, sigma, chosen, kernel=kernel))


def _solarize(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    chosen = draws.chosen("solarize", pipeline.view.solarize)
    threshold = pipeline.view.solarize_threshold
    return frame._replace(images=color.solarize(frame.images, chosen, threshold=threshold))


def _cutout(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    chosen = draws.chosen("cutout", pipeline.view.cutout)
    images = filters.cutout(frame.images, draws.of("cutout")[:, 1:], chosen, fill=pipeline.mean)
    return frame._replace(images=images)


def _rotate(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    # 0 is one of the four: a quarter of the chosen images stay upright.
    turns = torch.floor(draws.of("rotate")[:, 1] * 4).to(torch.int64)
    turns = torch.where(draws.chosen("rotate", pipeline.view.rotate), turns, 0)
    return frame._replace(images=filters.rotate(frame.images, turns))


def _noise(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    assert draws.noise is not None
    chosen = draws.chosen("noise", pipeline.view.noise)
    noise = draws.noise.view_as(frame.images)
    return frame._replace(images=filters.gaussian_noise(frame.images, noise, chosen))


def _sobel(pipeline: Pipeline, frame: Frame, draws: Draws) -> Frame:
    chosen = draws.chosen("sobel", pipeline.view.sobel)
    return frame._replace(images=filters.sobel(frame.images, chosen))


OPS: dict[Op, Callable[[Pipeline, Frame, Draws], Frame]] = {
    "crop": _crop,
    "flip": _flip,
    "jitter": _jitter,
    "grayscale": _grayscale,
    "blur": _blur,
    "solarize": _solarize,
    "cutout": _cutout,
    "rotate": _rotate,
    "noise": _noise,
    "sobel": _sobel,
}
