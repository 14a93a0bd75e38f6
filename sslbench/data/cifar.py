"""CIFAR batches, read without trusting them: an unpickler that admits arrays and plain values.

torchvision reads only files with the published MD5. Copies whose images are in another order
exist; they load here, and their fingerprint tells them apart.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sslbench.data.split import Split
from sslbench.errors import UserError


def cifar10(folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Train, test and class names from the folder that holds `cifar-10-batches-py`."""
    base = folder / "cifar-10-batches-py"
    classes = _names(base / "batches.meta", "label_names")
    train = _batches([base / f"data_batch_{i}" for i in range(1, 6)], "labels", len(classes))
    return train, _batches([base / "test_batch"], "labels", len(classes)), classes


def cifar100(folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Train, test and the fine class names from the folder that holds `cifar-100-python`."""
    base = folder / "cifar-100-python"
    classes = _names(base / "meta", "fine_label_names")
    train = _batches([base / "train"], "fine_labels", len(classes))
    return train, _batches([base / "test"], "fine_labels", len(classes)), classes


def _batches(files: Sequence[Path], key: str, num_classes: int) -> Split:
    parts = [_batch(path, key, num_classes) for path in files]
    return Split(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]))


def _batch(path: Path, key: str, num_classes: int) -> tuple[Tensor, Tensor]:
    """Images uint8 N×3×32×32 and labels int64 N of one file."""
    content = unpickle(path)
    pixels, labels = content.get("data"), content.get(key)
    if not (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 2
        and pixels.shape[1] == 3072
        and isinstance(labels, list)
        and len(labels) == len(pixels) > 0
        and all(type(label) is int and 0 <= label < num_classes for label in labels)
    ):
        raise UserError(
            f"'{path}' is not a CIFAR batch: it needs 'data', N×3072 bytes, and '{key}', "
            "N whole numbers; delete it to have it downloaded again."
        )
    images = torch.from_numpy(np.ascontiguousarray(pixels)).view(-1, 3, 32, 32)
    return images, torch.tensor(labels, dtype=torch.int64)


def _names(path: Path, key: str) -> tuple[str, ...]:
    names = unpickle(path).get(key)
    if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
        raise UserError(f"'{path}' names no classes; delete it to have it downloaded again.")
    return tuple(names)


def unpickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary of arrays, text, numbers, lists and dictionaries.

    Raises:
        UserError: the file is truncated, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except _Refused as refused:
        raise UserError(
            f"'{path}' holds {refused}, which no CIFAR file does, and was not opened; "
            "get the file from its source again."
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f"'{path}' is damaged or half-downloaded ({type(error).__name__}); delete it to "
            "have it downloaded again."
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is not a CIFAR file; get it from its source again.")
    return {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in content.items()}


class _Refused(Exception):
    """The name of something that a data file has no business to hold."""


def _array_stub(*_: Any) -> np.ndarray[Any, Any]:
    """numpy's `_reconstruct` without its arguments: an empty array, filled by its state."""
    return np.ndarray((0,), dtype=np.uint8)


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes in the old protocols."""
    if encoding != "latin1":
        raise _Refused(f"text encoded as '{encoding}'")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """Knows the names that numpy arrays and byte strings are pickled with, and no others."""

    ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _array_stub,
        ("numpy._core.multiarray", "_reconstruct"): _array_stub,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"'{module}.{name}'") from None
