"""One encoded image to pixels, in the least time (docs/streaming.md has numbers)."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import levels, listing, photographs
from sslbench.errors import UserError


def decoded(data: bytes, name: str, resolution: int) -> np.ndarray:
    """uint8 3×R×R of an encoded image: upright, shorter side to R, centre crop.

    Other formats than JPEG give what `photographs.decode` gives, bit for bit. A JPEG is decoded at
    1/2, 1/4 or 1/8 where libjpeg has R pixels left then, and resized by torch, which takes half of
    Pillow's time: pixels differ by some levels. Grey images of more than 8 bits are refused, since
    their scale needs the whole set.

    Raises:
        UserError: it is no readable image; the sentence has its name.
    """
    path = Path(name)
    with photographs.readable(path), Image.open(io.BytesIO(data), formats=_formats()) as file:
        if levels.is_deep(file):
            raise UserError(
                f"'{name}' is grey with more than 8 bits, whose scale depends on all images of the "
                "set; save it with 8 bits, or use --stream off."
            )
        turn = photographs.turn_of(file)
        if file.format == "JPEG" and turn is None and file.mode in ("RGB", "L"):
            file.draft("RGB", (resolution, resolution))
            pixels = np.array(file.convert("RGB") if file.mode != "RGB" else file)
            return _square(torch.from_numpy(pixels).permute(2, 0, 1), resolution)
        file.load()
        file.info.pop("transparency", None)
        image = file.convert("RGB")
        return photographs.square(image if turn is None else image.transpose(turn), resolution)


def _square(image: Tensor, resolution: int) -> np.ndarray:
    """3×R×R: shorter side to R, then the centre, as `photographs.square`."""
    height, width = image.shape[1:]
    if min(height, width) != resolution:
        scale = resolution / min(height, width)
        size = [max(resolution, round(side * scale)) for side in (height, width)]
        (image,) = F.interpolate(image[None], size, mode="bilinear", antialias=True)
    top, left = ((side - resolution) // 2 for side in image.shape[1:])
    found: np.ndarray = image[:, top : top + resolution, left : left + resolution].numpy()
    return found


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    return listing.formats()
