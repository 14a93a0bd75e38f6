"""Features that need not fit in memory: written while they are computed, read from their file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.data import Dataset
from sslbench.errors import UserError
from sslbench.evaluation.features import BATCH_SIZE, NOT_FINITE, encode_batches
from sslbench.files import user_io

LARGE = 1 << 30  # bytes of features from which on they are read part by part


def is_large(x: Tensor) -> bool:
    """Whether copies of N×D features are better not made."""
    return x.numel() * x.element_size() > LARGE


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of N×D features in a file that are read, and changed, when they are asked for.

    Attributes:
        rows: int64 n, which ones.
        change: of every n×D that is read, None to leave them.
        device: where they go.
    """

    x: Tensor
    rows: Tensor
    change: Callable[[Tensor], Tensor] | None = None
    device: torch.device = torch.device("cpu")

    @property
    def shape(self) -> tuple[int, int]:
        """n, D."""
        return len(self.rows), self.x.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        chosen = self.rows[rows.cpu() if isinstance(rows, Tensor) else rows]
        found = self.x[chosen].to(self.device)
        return found if self.change is None else self.change(found)


def parts(x: Tensor | Rows, size: int) -> Iterator[Tensor]:
    """At most `size` rows at a time, in order."""
    return (x[start : start + size] for start in range(0, len(x), size))


def write_encoded(
    path: Path,
    encoder: nn.Module,
    dataset: Dataset,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    key: str,
    advice: str,
) -> None:
    """Encode training and test images of a streamed set into the file that `read_features` reads.

    Args: as `features.extract` and `features.write_features`.
    Raises:
        UserError: a feature is not finite, the disk is full, or images cannot be read.
    """
    halves = {"train": dataset.train.images, "test": dataset.test.images}
    temporary = path.with_name(f".{path.name}.tmp")
    with user_io(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                for images in halves.values():
                    for batch in encode_batches(encoder, images, mean=mean, std=std,
                                                batch_size=BATCH_SIZE):  # fmt: skip
                        if not bool(torch.isfinite(batch).all()):
                            raise UserError(NOT_FINITE.format(advice))
                        if file.tell() == 0:
                            counts = {half: len(x) for half, x in halves.items()}
                            file.write(_header(counts, batch.shape[1], key))
                        file.write(np.ascontiguousarray(batch.numpy(), dtype="<f4").data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _header(counts: dict[str, int], width: int, key: str) -> bytes:
    """Of a safetensors file of N×D float32 tensors, one behind the other: what stands before the
    values, which the library writes only of tensors that are there.

    Source: the format's description in the safetensors documentation.
    """
    entries: dict[str, object] = {"__metadata__": {"key": key}}
    begin = 0
    for name, count in counts.items():
        end = begin + 4 * count * width
        offsets = [begin, end]
        entries[name] = {"dtype": "F32", "shape": [count, width], "data_offsets": offsets}
        begin = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
