"""Label maps: images whose pixels are numbers, of classes or of objects, and never colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from sslbench.data.photographs import WORKERS, bounded, readable
from sslbench.errors import UserError

_LOSSY = frozenset({"JPEG", "MPO", "JPEG2000"})  # their numbers are not those that were saved
_NUMBERS = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})

Found = TypeVar("Found")


def read_label_map(path: Path) -> np.ndarray:
    """The numbers in a label map, uint8 H×W; of a palette the places in it.

    Raises:
        UserError: it is no readable image, has colours or numbers above 255, or comes from a format
            that does not keep numbers.
    """
    with readable(path), Image.open(path) as image:
        if image.format in _LOSSY:
            raise UserError(
                f"'{path}' is a {image.format} file, which does not keep the numbers of a label "
                "map; save it as PNG from its source."
            )
        if image.mode not in _NUMBERS:
            raise UserError(
                f"'{path}' has colours (mode {image.mode}), and a label map has one number a "
                "pixel; save the numbers of the classes as a grey PNG of 8 bits."
            )
        values = np.asarray(image)
    if values.dtype != np.uint8 and values.size and (values.min() < 0 or values.max() > 255):
        raise UserError(
            f"'{path}' has numbers up to {values.max()}, and a label map has at most 255; renumber "
            "its classes."
        )
    return values.astype(np.uint8)


def nearest(values: np.ndarray, resolution: int) -> np.ndarray:
    """H×W to R×R: of each new pixel the value under its centre, so that no value is made up."""
    rows, columns = (
        ((np.arange(resolution) + 0.5) * side / resolution).astype(np.int64)
        for side in values.shape
    )
    found: np.ndarray = values[rows[:, None], columns]
    return found


def each(read: Callable[[Path], Found], files: Sequence[Path]) -> list[Found]:
    """What `read` makes of every file, several at a time; the first error ends it."""
    with bounded(), ThreadPoolExecutor(WORKERS) as pool:
        try:
            return list(pool.map(read, files))
        except UserError:
            pool.shutdown(cancel_futures=True)
            raise


def require_values(values: np.ndarray, allowed: Sequence[int], path: Path) -> np.ndarray:
    """The same label map, if all its numbers are allowed.

    Raises:
        UserError: others occur, as in a map that was resized with interpolation.
    """
    known = np.zeros(256, dtype=np.bool_)
    known[[*allowed]] = True
    if not known[values].all():
        others = np.unique(values[~known[values]]).tolist()
        shown = ", ".join(map(str, others[:6])) + (", ..." if len(others) > 6 else "")
        raise UserError(
            f"'{path}' has numbers that stand for no class ({shown}); a map that was resized must "
            "be resized by nearest neighbour, and each class needs a name in the class file."
        )
    return values
