"""Folders of small noisy pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.recipes.specs import ImageSet


def write_set(folder: Path, *, train: int = 24, test: int = 8, side: int = 16) -> Path:
    """train/ and val/ of two classes, PNGs: what is decoded of them is the same in every way."""
    draw = np.random.default_rng(0)
    for part, count in (("train", train), ("val", test)):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:03}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training and 16 test images of 16 pixels."""
    return write_set(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def few_workers(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many processes decode."""

    def use(count: int) -> None:
        monkeypatch.setenv("SSLBENCH_WORKERS", str(count))

    return use


def spec_of(folder: Path, **more: object) -> ImageSet:
    """The folder at 16 pixels, streamed unless said otherwise."""
    return ImageSet(
        **{"name": "folder", "path": str(folder), "resolution": 16, "stream": True} | more
    )
