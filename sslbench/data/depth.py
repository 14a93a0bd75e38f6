"""Folders of images and of depth maps, as NYU Depth and others have them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sslbench.data import layouts
from sslbench.data.dataset import Raw
from sslbench.data.label_maps import each, nearest
from sslbench.data.photographs import Size, decode_whole, readable
from sslbench.data.split import Split
from sslbench.errors import UserError, first_line
from sslbench.files import read_text, reading
from sslbench.memory import require_memory

LAYOUT = layouts.Layout(
    others=("depth", "depths"),
    suffixes=frozenset({".png", ".tif", ".tiff", ".npy", ".npz"}),
    endings=("", "_depth"),
    what="depth maps",
)
SCALE = "scale.txt"  # beside the folders: how many units of whole numbers are a metre
MILLIMETRES = 1000.0
_ARRAY = "depth"  # of an .npz with several arrays
_USUAL = (0.05, 500.0)  # metres between which the median depth of photographs lies


def depth(folder: Path, resolution: int) -> Raw:
    """Pairs of an image and a depth map of its size, in metres.

    Floating-point numbers are metres, whole ones of 16 bits or more millimetres, or what scale.txt
    says. 0, NaN and infinity are not known: NaN in `Split.depth`. Depth is resized by nearest
    neighbour.

    Raises:
        UserError: a map has a negative depth, the same everywhere, none that is known, 8 bits, or
            another size than its image; or a file is damaged.
    """
    found = LAYOUT.halves(folder)
    units = _units(folder, found.base)
    pairs = [*found.train, *found.test]
    require_memory(
        10 * len(pairs) * resolution**2,
        what=f"{len(pairs):,} images and depth maps of {resolution:,} pixels",
        remedy="lower data.resolution",
    )
    maps = each(lambda path: _read(path, units, resolution), [pair.other for pair in pairs])
    decoded = decode_whole([p.image for p in pairs], resolution, [size for _, size in maps])
    distance = torch.from_numpy(np.stack([small for small, _ in maps]))
    count = len(found.train)
    halves = [
        Split(decoded.images[s], depth=distance[s])
        for s in (slice(None, count), slice(count, None))
    ]
    notes = (*found.notes, *_notes(distance.numpy()), *decoded.notes)
    return Raw(halves[0], halves[1], (), notes=notes)


def _notes(distance: np.ndarray) -> tuple[str, ...]:
    """On pixels without depth, and on one that no photograph has."""
    known = np.isfinite(distance)
    notes = []
    if not known.all():
        notes.append(f"pixels of unknown depth, which nothing is trained or tested on: "
                     f"{100 * (1 - known.mean()):.1f} %.")  # fmt: skip
    median = float(np.median(distance[known]))
    if not _USUAL[0] <= median <= _USUAL[1]:
        notes.append(f"the median depth is {median:g} metres, so its unit may be another; "
                     f"{SCALE} says how many units of whole numbers are a metre.")  # fmt: skip
    return tuple(notes)


def _units(*folders: Path) -> float:
    """How many units of whole numbers are a metre. Raises UserError: the file does not say."""
    for folder in folders:
        if (path := folder / SCALE).is_file():
            try:
                value = float(read_text(path))
            except ValueError:
                value = math.nan
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"'{path}' needs one number above 0, the units in a metre, for "
                                "example 1000.")  # fmt: skip
            return value
    return MILLIMETRES


def _read(path: Path, units: float, resolution: int) -> tuple[np.ndarray, Size]:
    """Metres float32 R×R, NaN where unknown, and the size that the map had."""
    values = _array(path) if path.suffix.lower() in (".npy", ".npz") else _pixels(path)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 1:
        raise UserError(f"'{path}' has 8 bits, too few for depth; use 16-bit PNG, or .npy in "
                        "metres.")  # fmt: skip
    metres = values.astype(np.float64) / (1.0 if values.dtype.kind == "f" else units)
    known = np.isfinite(metres) & (metres != 0)
    small = nearest(np.where(known, metres, np.nan), resolution).astype(np.float32)
    if np.isnan(small).all():
        raise UserError(
            f"'{path}' has no pixel at {resolution} whose depth is known; remove it and its image."
        )
    least, largest = metres[known].min(), metres[known].max()
    if least < 0:
        raise UserError(
            f"'{path}' has a depth of {least:g}, and depth is above 0, or 0 where it is unknown; "
            "mend it."
        )
    if least == largest:
        raise UserError(f"'{path}' has the depth {least:g} at every pixel, which shows nothing; "
                        "mend it, or remove it and its image.")  # fmt: skip
    height, width = values.shape
    return small, (width, height)


def _pixels(path: Path) -> np.ndarray:
    """Of an image file of one channel."""
    with readable(path), Image.open(path) as image:
        values = np.asarray(image)
        if values.ndim != 2:
            raise UserError(f"'{path}' has colours (mode {image.mode}), and a depth map has one "
                            "number a pixel; save that as 16-bit PNG.")  # fmt: skip
    return values


def _array(path: Path) -> np.ndarray:
    """Of a numpy file, H×W; a third axis of length 1 is dropped."""
    with reading(path), path.open("rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
            values = found if isinstance(found, np.ndarray) else _only(found, path)
        except UserError:
            raise
        except Exception as error:  # a damaged archive can raise nearly anything
            raise UserError(f"'{path}' is no array of numpy ({first_line(error)}); save it again "
                            "with numpy.save.") from None  # fmt: skip
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(0 if values.shape[0] == 1 else 2)
    if values.ndim != 2 or values.dtype.kind not in "iuf" or values.size == 0:
        raise UserError(
            f"'{path}' holds {values.dtype} of shape {values.shape}; a depth map is H×W numbers."
        )
    return values


def _only(found: np.lib.npyio.NpzFile, path: Path) -> np.ndarray:
    """The array of an .npz: its only one, or that named depth."""
    names = found.files
    if len(names) != 1 and _ARRAY not in names:
        raise UserError(f"'{path}' holds {len(names)} arrays and none is named '{_ARRAY}'; name it "
                        "so.")  # fmt: skip
    values: np.ndarray = found[_ARRAY if _ARRAY in names else names[0]]
    return values
