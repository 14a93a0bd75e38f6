"""One encoded image to pixels, at the least scale of its format that suffices."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.data import levels, listing, photographs
from sslbench.errors import UserError


def decoded(data: bytes, name: str, resolution: int) -> np.ndarray:
    """uint8 3×R×R of an encoded image, as `photographs.decode` makes it, with two differences: a
    JPEG is decoded at 1/2, 1/4 or 1/8 where that is still as large as R (libjpeg then averages in
    the frequency domain), and grey images of more than 8 bits are refused, since their common
    scale needs the whole set.

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
        file.draft("RGB", (resolution, resolution))  # leaves all but JPEGs as they are
        file.load()
        file.info.pop("transparency", None)
        image = file.convert("RGB")
        return photographs.square(image if turn is None else image.transpose(turn), resolution)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    return listing.formats()
