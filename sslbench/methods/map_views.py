"""Whether views can be compared part by part: on maps of several cells, where they meet."""

from __future__ import annotations

from torch import nn

from sslbench.errors import UserError
from sslbench.models.maps import map_shapes
from sslbench.recipes.recipe import Recipe
from sslbench.views.cells import overlapping_share

LEAST_SIDE = 2  # cells of a map
LEAST_OVERLAP = 0.5  # share of images whose views meet


def channels_of_maps(encoder: nn.Module, recipe: Recipe, *, resolution: int, placed: bool) -> int:
    """Channels of the encoder's last map.

    Args:
        resolution: side of the images, pixels.
        placed: parts are paired by where they lie in the image.
    Raises:
        UserError: an encoder without maps, or whose map of a view is a single cell; or views that
            seldom meet, where parts are placed.
    """
    shapes = []
    for name in ("first", "second"):
        view = getattr(recipe.views, name) or recipe.views.first
        size = view.size or resolution
        shape = map_shapes(encoder, resolution=size)[-1]
        side = round(size / shape.stride)
        if side < LEAST_SIDE:
            raise UserError(
                f"The last map of {type(recipe.encoder).__name__} at {size} pixels has "
                f"{side}×{side} cells, and parts of it are what is compared; use larger images, a "
                f"larger views.{name}.size, or an encoder of a smaller stride."
            )
        shapes.append(shape)
    share = overlapping_share(recipe.views, resolution=resolution)
    if placed and share < LEAST_OVERLAP:
        raise UserError(
            f"The two views have a part in common in {100 * share:.0f} % of the images, and only "
            "there can their parts be paired; raise the lower bound of views.*.crop.scale."
        )
    return shapes[0].channels
