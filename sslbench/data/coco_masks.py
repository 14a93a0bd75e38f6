"""The segmentations of COCO's JSON: polygons, and run lengths of pixels down the columns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslbench.data.photographs import Size
from sslbench.errors import UserError


def require_segmentation(found: object, *, size: Size, crowd: bool, where: str) -> None:
    """Raise UserError, whose sentence begins with `where`, if that is no segmentation of an image
    of that size: of a single object polygons or run lengths, of a crowd run lengths."""
    if isinstance(found, Mapping):
        _require_runs(found, size, where)
    elif not isinstance(found, Sequence) or isinstance(found, str):
        raise UserError(f"{where}: segmentation needs polygons or run lengths; mend it.")
    elif crowd:
        raise UserError(
            f"{where}: iscrowd is 1 and segmentation a polygon, where crowds have run lengths; "
            "encode it as these, or set iscrowd to 0."
        )
    else:
        for polygon in found:
            _require_polygon(polygon, size, where)


def decoded(found: Any, size: Size) -> np.ndarray:
    """bool H×W of a segmentation that `require_segmentation` let pass.

    Raises:
        UserError: its compressed run lengths are damaged.
    """
    from pycocotools import mask as coco_mask

    width, height = size
    try:
        runs = coco_mask.frPyObjects(found, height, width) if _plain(found) else found
        if isinstance(runs, list):
            runs = coco_mask.merge(runs)
        with warnings.catch_warnings():  # of how it hands arrays to numpy 2
            warnings.simplefilter("ignore", DeprecationWarning)
            return np.asarray(coco_mask.decode(runs), dtype=np.bool_)
    except (ValueError, TypeError) as error:
        raise UserError(f"a segmentation has run lengths that are damaged ({error})") from None


def _plain(found: Any) -> bool:
    """Whether it is in a form that has to be encoded first: polygons, or counts in a list."""
    return not isinstance(found, Mapping) or isinstance(found["counts"], list)


def _require_runs(found: Mapping[str, Any], size: Size, where: str) -> None:
    width, height = size
    if found.get("size") != [height, width]:
        raise UserError(
            f"{where}: segmentation is of size {found.get('size')} (height, width), and its image "
            f"of [{height}, {width}]; masks must be as large as their image."
        )
    counts = found.get("counts")
    if isinstance(counts, str):
        if not counts.isascii():
            raise UserError(f"{where}: segmentation has counts that are no run lengths; mend it.")
    elif not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise UserError(f"{where}: segmentation needs counts, text or whole numbers; mend it.")
    elif sum(counts) != width * height:
        raise UserError(
            f"{where}: segmentation has counts for {sum(counts)} pixels of {width * height}; mend "
            "it."
        )


def _require_polygon(polygon: object, size: Size, where: str) -> None:
    """Three corners or more, near the image: what lies far outside takes memory without end."""
    if not (
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in polygon)
        and all(math.isfinite(x) for x in polygon)
    ):
        raise UserError(
            f"{where}: a polygon of segmentation needs three or more corners, x and y in turn; "
            "mend it."
        )
    for values, side in ((polygon[::2], size[0]), (polygon[1::2], size[1])):
        if min(values) < -side or max(values) > 2 * side:
            raise UserError(f"{where}: a polygon of segmentation lies far out of its image; mend "
                            "it.")  # fmt: skip
