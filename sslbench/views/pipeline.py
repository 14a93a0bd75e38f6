"""One view's pipeline: the active operations of a `View` in its order, on a whole batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.recipes.specs import Op, View
from sslbench.views import color
from sslbench.views.draws import COLUMNS, Draws, Frame, Place
from sslbench.views.rows import needed
from sslbench.views.steps import OPS, Numbers

# A mirrored image goes through these as its mirror does: a flip behind them joins the crop's.
_MIRROR_SYMMETRIC: frozenset[Op] = frozenset({"jitter", "grayscale", "blur", "solarize"})


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
        self._probabilities = view.probabilities()

    def chosen(self, op: Op, draws: Draws) -> Tensor:
        """N bool, true with the operation's probability: its first column decides."""
        return draws.uniforms[:, COLUMNS[op].start] < self._probabilities[op]

    def prepare(self, place: Place, draws: Draws) -> tuple[list[Numbers], Place]:
        """Of images of that place: the numbers of all steps, and the place of the views."""
        if not self._crops_first():
            place = place.repeat(len(draws.uniforms) // len(place.box))
        numbers = []
        for op in self.steps:
            each, place = OPS[op].prepare(self, place, draws)
            numbers.append(each)
        return numbers, place

    def apply(self, images: Tensor, numbers: Sequence[Numbers], *, count: int) -> Tensor:
        """So many views' pixels in [0, 1], of uint8 images or of pixels in [0, 1]."""
        # A crop that comes first takes all L views from one image; any other step needs copies.
        if not self._crops_first():
            images = color.to_unit(images).repeat(count // len(images), 1, 1, 1)
        for op, each in zip(self.steps, numbers, strict=True):
            if op == "crop" or needed(each[0]):
                images = OPS[op].apply(self, images, *each)
        return images

    def __call__(self, frame: Frame, draws: Draws) -> Frame:
        side = (frame.images.shape[-2], frame.images.shape[-1])
        numbers, place = self.prepare(Place(side, frame.box, frame.flipped), draws)
        images = self.apply(frame.images, numbers, count=len(draws.uniforms))
        return Frame(images, place.box, place.flipped)

    def _crops_first(self) -> bool:
        return self.view.crop is not None and self.steps[0] == "crop"

    def order(self, draws: Draws) -> Tensor:
        """Row numbers, N int64, such that neighbours need the same of the dear steps."""
        kind = torch.zeros_like(draws.uniforms[:, 0])
        if "blur" in self.steps:  # and among the blurred by how far
            kind += self.chosen("blur", draws) * (1 + draws.of("blur")[:, 1])
        if "jitter" in self.steps:
            hue_place = color.jitter_positions(draws.of("jitter")[:, 5])[:, color.HUE]
            kind += self.chosen("jitter", draws) * (2 + 2 * hue_place)
        return kind.argsort(stable=True)


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
