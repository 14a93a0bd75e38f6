"""Single images, decoded for a stream."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.data.photographs import decode
from sslbench.data.streaming.decoding import decoded
from sslbench.errors import UserError


def picture(size: tuple[int, int]) -> Image.Image:
    """Smooth: a ramp across and a ramp down."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def resident(data: bytes, path: Path, side: int) -> np.ndarray:
    path.write_bytes(data)
    return decode([path], side).images[0].numpy()


@pytest.mark.parametrize("size", [(40, 30), (30, 41), (16, 16), (100, 64), (300, 200), (17, 90)])
def test_a_jpeg_is_what_pillow_makes_of_it_but_for_rounding(
    size: tuple[int, int], tmp_path: Path
) -> None:
    data = encoded(picture(size), "JPEG", quality=95)
    found = decoded(data, "a", 16).astype(int)
    assert found.shape == (3, 16, 16)
    assert abs(found - resident(data, tmp_path / "a.jpg", 16)).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats_are_the_same_bit_for_bit(kind: str, tmp_path: Path) -> None:
    data = encoded(picture((50, 40)), kind)
    assert np.array_equal(decoded(data, "a", 16), resident(data, tmp_path / "a", 16))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours(mode: str, tmp_path: Path) -> None:
    data = encoded(picture((50, 40)).convert(mode), "JPEG", quality=95)
    difference = decoded(data, "a", 16).astype(int) - resident(data, tmp_path / "a.jpg", 16)
    assert abs(difference).max() <= 4


def test_an_orientation_is_honoured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture((40, 30)), "JPEG", exif=exif, quality=95)
    assert np.array_equal(decoded(data, "a", 16), resident(data, tmp_path / "a.jpg", 16))


@pytest.mark.parametrize("side", [16, 32])  # at 1/2, whole
@pytest.mark.parametrize(
    "damage", [lambda x: x[:300], lambda x: x[: len(x) // 2], lambda x: b"", lambda x: b"<html>"]
)
def test_what_is_no_image_is_named(damage: object, side: int) -> None:
    assert callable(damage)
    with pytest.raises(UserError, match=r"'a.jpg' is not a readable image") as seen:
        decoded(damage(encoded(picture((60, 50)), "JPEG")), "a.jpg", side)
    assert "\n" not in str(seen.value)


def test_deep_grey_is_refused() -> None:
    deep = Image.fromarray(np.full((20, 20), 30000, np.uint16))
    with pytest.raises(UserError, match=r"more than 8 bits.*--stream off"):
        decoded(encoded(deep, "PNG"), "a.png", 16)
