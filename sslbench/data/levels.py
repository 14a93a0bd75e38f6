"""Pixels of more than 8 bits: which range of values becomes black to white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.errors import UserError

_FULL = (0.0, 65535.0)
_USED = 1 << 14  # a set of 16 bits none of whose values reaches this holds 14 bits or fewer
# Tags of TIFF 6.0, Secs. 8 and 19: bits, whether 0 is white, sign, least and largest value.
_BITS, _PHOTOMETRIC, _FORMAT, _SAMPLES = 258, 262, 339, ((280, 281), (340, 341))


@dataclass(frozen=True)
class Levels:
    """The values of one grey image of more than 8 bits.

    Attributes:
        kind: "I;16" (unsigned, 16 bits), "I" (whole numbers) or "F" (floating point).
        low, high: its least and its largest value.
        declared: the values that its file says are black and white, if it says so.
    """

    kind: str
    low: float
    high: float
    declared: tuple[float, float] | None


def is_deep(image: Image.Image) -> bool:
    """Whether it is grey with more than 8 bits, as Pillow opened it."""
    return image.mode == "F" or image.mode.startswith("I")


def is_deep_colour(image: Image.Image) -> bool:
    """Whether it has several channels of 16 bits, of which Pillow reads the upper 8. Ask before
    its pixels are loaded."""
    return not is_deep(image) and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def values_of(image: Image.Image) -> np.ndarray:
    """The values of a deep image, H×W; Pillow has no mode for 32 bits without sign."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    unsigned = image.mode == "I" and tags and _number(tags.get(_FORMAT, 1)) == 1
    return values.view(np.uint32) if unsigned else values


def levels_of(image: Image.Image, values: np.ndarray, path: Path) -> Levels:
    """What there is to know of a deep image. Raises UserError: a value is no finite number."""
    if not np.isfinite(values).all():
        raise UserError(f"'{path}' has pixels that are not finite; mend or remove it.")
    # Pillow before version 11 opens a PNG of 16 bits as "I".
    short = image.mode.startswith("I;16") or image.format == "PNG"
    kind = "I;16" if short else image.mode
    return Levels(kind, float(values.min()), float(values.max()), _declared(image))


def eight_bits(
    image: Image.Image, values: np.ndarray, found: Levels, scale: tuple[float, float] | None
) -> Image.Image:
    """The image with the declared range as black to white, else `scale`, else all 16 bits, else
    its own range."""
    usual = _FULL if found.kind == "I;16" else (found.low, found.high)
    low, high = found.declared or scale or usual
    if (low, high) == _FULL:  # the upper byte, as Pillow has it for colour of 16 bits
        grey = (values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    else:
        share = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
        grey = (share.clip(0, 1) * 255).round().astype(np.uint8)
    tags = getattr(image, "tag_v2", {})
    return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey)


def common_scales(found: Sequence[Levels]) -> dict[str, tuple[float, float]]:
    """For each kind, the values that become black and white in the images that declare none: their
    common range, from 0 where none is below. 16 bits that are used stand for themselves."""
    scales = {}
    for kind in ("I;16", "I", "F"):
        own = [x for x in found if x.kind == kind and x.declared is None]
        high = max((x.high for x in own), default=0.0)
        if own and not (kind == "I;16" and high >= _USED):
            scales[kind] = (min(0.0, *(x.low for x in own)), high)
    return scales


def refuse_dim_colour(whites: dict[Path, int]) -> None:
    """Raise UserError when the 16-bit colour images of a set use 14 bits or fewer: of the 8 bits
    that are read of them, little would be left.

    Args:
        whites: the largest value, of 8 bits, in each of them.
    """
    if whites and max(whites.values()) < 64:
        first = next(iter(whites))
        raise UserError(
            f"{len(whites)} colour images of 16 bits ('{first}' the first) use the lower 14 or "
            "fewer, and of colour the upper 8 are read: save them with 8 bits a channel, scaled "
            "as they should look."
        )


def _declared(image: Image.Image) -> tuple[float, float] | None:
    """The range that the format, or a TIFF's tags, state for the values."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        # Portable grey maps state their white, and Pillow brings it to that of 16 bits.
        return _FULL if image.format == "PPM" and image.mode == "I" else None
    for least, largest in _SAMPLES:
        high, low = _number(tags.get(largest)), _number(tags.get(least)) or 0.0
        if high is not None and high > low:
            return low, high
    bits = _number(tags.get(_BITS))
    return (0.0, 2.0**bits - 1) if bits is not None and bits not in (16.0, 32.0) else None


def _number(value: object) -> float | None:
    """The first number of a tag, or None."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
