"""Image files to uint8 tensors of one size, decoded once, several at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sslbench.errors import UserError

try:
    _WORKERS = len(os.sched_getaffinity(0))
except AttributeError:  # not on macOS and Windows
    _WORKERS = os.cpu_count() or 1


def decode(files: Sequence[Path], resolution: int) -> Tensor:
    """N files to uint8 N×3×R×R: shorter side to R (antialiased bilinear), then centre crop.

    Grey images get three equal channels (of 16 bits the upper 8), transparency is
    dropped. Smaller images are enlarged, unless most are.

    Raises:
        UserError: a file is no readable image, or most are smaller than `resolution`.
    """
    out = np.empty((len(files), 3, resolution, resolution), dtype=np.uint8)
    sides = np.empty(len(files), dtype=np.int64)

    def fill(i: int) -> None:
        out[i], sides[i] = _decode(files[i], resolution)

    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for _ in pool.map(fill, range(len(files))):
                pass
        except UserError:
            pool.shutdown(cancel_futures=True)
            raise
    small = np.flatnonzero(sides < resolution)
    if 2 * len(small) > len(files):
        first = files[int(small[0])]
        raise UserError(
            f"{len(small)} of {len(files)} images are smaller than {resolution} pixels ('{first}': "
            f"{sides[small[0]]}); set data.resolution to their size or less."
        )
    return torch.from_numpy(out)


def _decode(path: Path, resolution: int) -> tuple[np.ndarray, int]:
    """3×R×R pixels and the shorter side that the file had."""
    try:
        with Image.open(path) as file:
            image = _eight_bits(file).convert("RGB")
    except Exception as error:  # Pillow raises much besides OSError for damaged files
        raise UserError(
            f"'{path}' is not a readable image ({type(error).__name__}); replace or remove it."
        ) from None
    width, height = image.size
    shorter = min(width, height)
    if shorter != resolution:
        scale = resolution / shorter
        size = (max(resolution, round(width * scale)), max(resolution, round(height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    return np.asarray(image).transpose(2, 0, 1), shorter


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image by its upper bits, where Pillow would clip; others as they are."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
