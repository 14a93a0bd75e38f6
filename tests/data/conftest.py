"""Small data sets in the layouts of the real ones, written afresh for each test."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pixels(count: int, *, seed: int = 0) -> np.ndarray:
    """Random bytes, N×3072."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def save_png(
    path: Path, *, size: tuple[int, int] = (20, 16), colour: int = 0, blue: int = 7
) -> Path:
    """An RGB image of one colour, width × height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 255 - colour, blue)).save(path)
    return path


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """A root with CIFAR-10 of 4 images a batch: protocol 2, as published, bytes as keys."""
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        labels = [(4 * seed + i) % 2 for i in range(4)]
        content = {b"data": pixels(4, seed=seed), b"labels": labels, b"filenames": [b"a.png"] * 4}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"label_names": ["cat", "dog"], "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return tmp_path


@pytest.fixture(name="save_png")
def save_png_fixture() -> Callable[..., Path]:
    """`save_png`, for tests that write single images."""
    return save_png


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes train/ and val/ with `num` images for each class of `classes`, no two of them equal;
    gives their path."""

    def write(
        classes: tuple[str, ...] = ("cat", "dog"), *, num: int = 10, test: str = "val"
    ) -> Path:
        for part in ("train", test):
            for label, name in enumerate(classes):
                for i in range(num):
                    path = tmp_path / "set" / part / name / f"{i}.png"
                    save_png(path, colour=40 * label + i, blue=7 if part == "train" else 8)
        return tmp_path / "set"

    return write
