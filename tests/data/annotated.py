"""Small sets in the layouts that people have, written by the tests, and how they are read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.data import Dataset, load
from sslbench.errors import DataWarning
from sslbench.recipes.specs import ImageSet

EXIF_ORIENTATION = 274
Box = tuple[float, float, float, float]


def read(name: str, path: Path, resolution: int = 16) -> tuple[Dataset, str]:
    """A set, and what is said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        data = load(ImageSet(name=name, path=str(path), resolution=resolution), root=Path())
    return data, "\n".join(str(w.message) for w in caught)


def noise(width: int, height: int, *, seed: int) -> np.ndarray:
    """H×W×3, unlike any of another seed."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, *, orientation: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def voc_object(name: str, box: Sequence[float], *, difficult: int = 0) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{inner}</bndbox><part><name>head</name><bndbox>{inner}</bndbox></part></object>"
    )


def voc_xml(size: tuple[int, int] | None, *objects: str) -> str:
    stated = (
        "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    )
    return f"<annotation>{stated}{''.join(objects)}</annotation>"


class Voc:
    """A set in VOC's layout: images of 40×20 pixels."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (base / name).mkdir(parents=True, exist_ok=True)

    def add(
        self, name: str, *objects: str, size: tuple[int, int] | None = (40, 20), suffix: str = "png"
    ) -> Path:
        """An image with its annotation; gives the image's path."""
        (self.base / "Annotations" / f"{name}.xml").write_text(voc_xml(size, *objects))
        seed = int.from_bytes(name.encode(), "little") % 2**32
        return save(self.base / "JPEGImages" / f"{name}.{suffix}", noise(40, 20, seed=seed))

    def list(self, half: str, *lines: str, kind: str = "Main") -> None:
        folder = self.base / "ImageSets" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{half}.txt").write_text("\n".join(lines) + "\n")

    def maps(self, name: str, classes: np.ndarray, objects: np.ndarray) -> None:
        for kind, values in (("Class", classes), ("Object", objects)):
            path = self.base / f"Segmentation{kind}" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            image = Image.fromarray(values.astype(np.uint8))
            image.putpalette(list(range(256)) * 3)
            image.save(path)
