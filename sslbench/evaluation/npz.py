"""The arrays that lie beside a score: read by name, and no more than belongs there. No torch."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.errors import UserError

Array = np.ndarray[Any, Any]
_CURVE = 2**20  # bytes of a curve, more than any has


def read_arrays(path: Path, names: Collection[str], *, limit: int) -> dict[str, Array]:
    """Arrays of an npz file by name.

    Args:
        limit: bytes that an array may unpack to.
    Raises:
        KeyError: one is not there.
        ValueError: the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as parts:  # its table of contents first: it may unpack to more
            wanted = [part for part in parts.infolist() if part.filename[:-4] in names]
            if any(part.file_size > limit for part in wanted):
                raise ValueError("more than belongs to the test images")
        with np.load(path, allow_pickle=False) as arrays:
            absent = [name for name in names if name not in arrays]
            found = {name: arrays[name] for name in names if name not in absent}
    except Exception as error:  # whatever damaged bytes make the reader raise
        raise ValueError(
            str(error) if type(error) is ValueError else type(error).__name__
        ) from None
    if absent:
        raise KeyError(absent[0])
    return found


def fit_curve(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of the fit that a protocol trained last, ascending; [] where none was kept.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        curve = read_arrays(path, ["curve"], limit=_CURVE)["curve"]
        if curve.ndim != 2 or curve.shape[1] != 2 or curve.dtype.kind != "f":
            raise ValueError("its curve is not steps and losses")
        points = curve[np.isfinite(curve).all(axis=1)].tolist()
    except KeyError:
        return []
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); score again with `sslbench eval --force`."
        ) from None
    return sorted((int(step), loss) for step, loss in points)
