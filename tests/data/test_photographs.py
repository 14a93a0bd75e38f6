"""Image files of every kind, as pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from sslbench.data import photographs
from sslbench.data.photographs import decode
from sslbench.errors import UserError

Write = Callable[..., Path]


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    out = decode([tmp_path / "a.png"], 10).images
    assert out.shape == (1, 3, 10, 10)
    assert bool((out[..., 1:9] == 200).all())


def test_resizing_averages_instead_of_skipping(tmp_path: Path) -> None:
    checks = (np.indices((40, 40)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    assert bool((decode([tmp_path / "a.png"], 10).images.float() - 127.5).abs().max() < 10)


def test_grey_and_transparent_images_get_three_channels(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8), 25856, np.uint16)).save(tmp_path / "deep.png")
    out = decode([tmp_path / f"{name}.png" for name in ("grey", "clear", "deep")], 8).images
    assert out[:, :, 0, 0].tolist() == [[90, 90, 90], [1, 2, 3], [101, 101, 101]]


def test_a_small_image_among_others_is_enlarged(tmp_path: Path, save_png: Write) -> None:
    sizes = [(4, 4), (16, 16), (16, 16)]
    files = [save_png(tmp_path / f"{i}.png", size=size) for i, size in enumerate(sizes)]
    assert decode(files, 16).images.shape == (3, 3, 16, 16)


def left_to_right(file: Path, resolution: int = 4) -> list[int]:
    """The red channel's first row."""
    return decode([file], resolution).images[0, 0, 0].tolist()


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("1", 1, "png", (255, 255, 255)),
        ("L", 90, "png", (90, 90, 90)),
        ("LA", (90, 0), "png", (90, 90, 90)),
        ("RGB", (1, 2, 3), "png", (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), "png", (1, 2, 3)),
        ("RGBX", (1, 2, 3, 0), "tif", (1, 2, 3)),
        ("CMYK", (0, 255, 255, 0), "tif", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "jpg", (254, 0, 0)),
        ("LAB", (117, 187, 176), "tif", (200, 48, 31)),
        ("YCbCr", (81, 90, 240), "jpg", (238, 14, 14)),
        ("I;16", 90 << 8, "png", (90, 90, 90)),
        ("I;16", 90 << 8, "tif", (90, 90, 90)),
        ("I;16B", 90 << 8, "tif", (90, 90, 90)),
        ("I;16", 90 << 8, "jp2", (90, 90, 90)),
        ("I", 90 << 8, "pgm", (90, 90, 90)),
    ],
)
def test_each_mode_of_pillow(
    tmp_path: Path, mode: str, colour: Any, suffix: str, expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (8, 8), colour).save(tmp_path / f"a.{suffix}")
    decoded = decode([tmp_path / f"a.{suffix}"], 8)
    assert decoded.images[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1)
    assert decoded.notes == ()


@pytest.mark.parametrize("transparency", [0, bytes([0, 128])])
def test_transparent_entries_of_a_palette_keep_their_colour(
    tmp_path: Path, transparency: int | bytes
) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=transparency)
    assert decode([tmp_path / "a.png"], 8).images[0, :, 0, 0].tolist() == [10, 20, 30]


def test_few_bits_of_grey_are_stretched(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255])
    image.putdata([0, 1, 2, 3] * 4)
    image.save(tmp_path / "a.png", bits=2)
    assert left_to_right(tmp_path / "a.png") == [0, 85, 170, 255]


def test_colour_of_16_bits_keeps_its_upper_8(tmp_path: Path) -> None:
    file = _deep_colour_png(tmp_path / "a.png", (90 << 8, 200 << 8, 255))
    assert decode([file], 4).images[0, :, 0, 0].tolist() == [90, 200, 0]


def test_colour_of_12_bits_in_16_is_refused(tmp_path: Path) -> None:
    file = _deep_colour_png(tmp_path / "a.png", (4095, 300, 20))
    with pytest.raises(UserError, match=r"1 colour images of 16 bits .* use the lower 14 or fewer"):
        decode([file], 4)


def _deep_colour_png(path: Path, colour: tuple[int, int, int]) -> Path:
    """4×4 of 16 bits a channel, which Pillow does not write."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + struct.pack(">3H", *colour) * 4) * 4
    header = struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


# --- more than 8 bits ---------------------------------------------------------------------------


def ramp(path: Path, values: list[float], dtype: str, **tags: Any) -> Path:
    """A grey TIFF of four columns, with tags by name."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[{"MinSampleValue": 280, "MaxSampleValue": 281, "SMaxSampleValue": 341}[name]] = value
    Image.fromarray(np.tile(np.array(values, dtype), (4, 1))).save(path, tiffinfo=info)
    return path


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_whole_numbers_and_floats_are_scaled_by_their_range(tmp_path: Path, dtype: str) -> None:
    file = ramp(tmp_path / "a.tif", [0, 250, 500, 1000], dtype)
    decoded = decode([file], 4)
    assert decoded.images[0, 0, 0].tolist() == [0, 64, 128, 255]
    assert "1 ('a.tif' the first), with values from 0 to 1000" in decoded.notes[0]


def test_negative_values_begin_at_black(tmp_path: Path) -> None:
    assert left_to_right(ramp(tmp_path / "a.tif", [-1, 0, 0.5, 1], "float32")) == [0, 128, 191, 255]


def test_12_bits_in_16_keep_their_levels(tmp_path: Path) -> None:
    file = ramp(tmp_path / "a.tif", [0, 1024, 2048, 4095], "uint16")
    assert left_to_right(file) == [0, 64, 128, 255]
    wide = ramp(tmp_path / "b.tif", list(np.linspace(0, 4095, 256)), "uint16")
    assert len(decode([wide], 4).images.unique()) > 1
    assert "values from 0 to 4095" in decode([wide], 4).notes[0]


def test_a_set_of_16_bits_keeps_its_dark_images_dark(tmp_path: Path) -> None:
    dark = ramp(tmp_path / "a.tif", [0, 1024, 2048, 4095], "uint16")
    bright = ramp(tmp_path / "b.tif", [0, 1024, 2048, 65535], "uint16")
    decoded = decode([dark, bright], 4)
    assert decoded.images[0, 0, 0].tolist() == [0, 4, 8, 15]
    assert decoded.notes == ()


def test_the_images_of_a_set_have_one_scale(tmp_path: Path) -> None:
    files = [ramp(tmp_path / f"{i}.tif", [0, 0, 0, i], "int32") for i in (500, 1000)]
    decoded = decode(files, 4)
    assert decoded.images[:, 0, 0, 3].tolist() == [128, 255]
    assert len(decoded.notes) == 1 and decoded.notes[0].count("2 ('500.tif' the first)") == 1


def test_a_declared_range_counts_and_needs_no_word(tmp_path: Path) -> None:
    file = ramp(tmp_path / "a.tif", [0, 1, 2, 3], "uint16", MaxSampleValue=4095)
    assert left_to_right(file) == [0, 0, 0, 0]
    file = ramp(tmp_path / "b.tif", [0, 1023, 2048, 4095], "uint16", MaxSampleValue=4095)
    decoded = decode([file], 4)
    assert decoded.images[0, 0, 0].tolist() == [0, 64, 128, 255] and decoded.notes == ()


def test_a_constant_image_is_no_division_by_zero(tmp_path: Path) -> None:
    for i, (value, dtype) in enumerate([(0, "int32"), (5, "int32"), (0.5, "float32")]):
        file = ramp(tmp_path / f"{i}.tif", [value] * 4, dtype)
        assert left_to_right(file) == [255 if value else 0] * 4


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    file = ramp(tmp_path / "a.tif", [0, 1, np.nan, 2], "float32")
    with pytest.raises(UserError, match=r"a\.tif' has pixels that are not finite"):
        decode([file], 4)


# --- orientation --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_honoured(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8] = 60
    upright[:8, 8:] = 120
    upright[8:, :8] = 240  # a different level in each corner
    turn = photographs._TURNS.get(orientation)
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(orientation, turn)
    stored = Image.fromarray(upright)
    stored = stored if back is None else stored.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    out = decode([tmp_path / f"a.{suffix}"], 16).images[0].permute(1, 2, 0).numpy()
    assert np.abs(out.astype(int) - upright).max() <= 8  # JPEG


@pytest.mark.parametrize(
    "block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0"]
)
def test_a_damaged_exif_block_leaves_the_picture(tmp_path: Path, block: bytes) -> None:
    Image.new("RGB", (8, 8), (200, 200, 200)).save(tmp_path / "a.jpg", exif=block)
    assert left_to_right(tmp_path / "a.jpg") == [200] * 4


# --- what is refused ----------------------------------------------------------------------------


def test_an_enormous_picture_says_how_large_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    monkeypatch.setattr(photographs, "MAX_PIXELS", 150_000_000)
    with pytest.raises(UserError, match=r"a\.png' has 200 megapixels, and at most 150 are decoded"):
        decode([tmp_path / "a.png"], 4)


def test_a_cameras_182_megapixels_are_read_and_pillows_limit_is_left_alone(tmp_path: Path) -> None:
    usual = Image.MAX_IMAGE_PIXELS
    Image.new("1", (15_000, 12_150), 1).save(tmp_path / "a.png")
    assert left_to_right(tmp_path / "a.png") == [255] * 4
    assert usual == Image.MAX_IMAGE_PIXELS


def test_images_that_memory_does_not_hold(tmp_path: Path, save_png: Write) -> None:
    with pytest.raises(UserError, match=r"1 images of 1,000,000 pixels: about .* lower data\.res"):
        decode([save_png(tmp_path / "a.png")], 1_000_000)


def test_what_is_no_picture_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(UserError, match=r"not a readable image \(of no format that Pillow opens"):
        decode([tmp_path / "a.png"], 4)
    with pytest.raises(UserError, match=r"b\.png' cannot be read: no such file"):
        decode([tmp_path / "b.png"], 4)


def test_no_file_starts_another_program(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UserError, match="of no format that Pillow opens"):
        decode([tmp_path / "a.png"], 4)
