"""Checkpoints: written whole or not at all, read without running any code in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.files import replacing, write_atomically
from sslbench.models.files import safetensors_bytes

FORMAT = 1  # raised whenever a checkpoint's content changes its meaning


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; an old one stays until the new one is safely on the disk.

    Args:
        path: the file; only one process may write it (the run folder's lock sees to that).
        state: tensors and plain containers, among them `digest`, the run it belongs to.
    Raises:
        UserError: the disk is full, or the folder cannot be written; the old file is intact.
    """
    with replacing(path) as file:
        target = _Remembering(file)
        try:
            torch.save({"format": FORMAT, **state}, cast("IO[bytes]", target))
        except RuntimeError as error:  # torch's writer hides what the file system said
            raise (target.error or error) from None


def load_checkpoint(path: Path, *, digest: str | None = None) -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, on the CPU.

    Args:
        path: the file.
        digest: the run that it must belong to; None accepts any.
    Raises:
        UserError: no such file, damaged, of another program or version, of another run, or with
            objects that would run code when read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint.")
    try:
        _check_sums(path)
        # On the CPU: a run may resume on another device than the one that wrote it.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged or foreign bytes make the reader raise
        if isinstance(error, MemoryError):
            raise
        raise UserError(
            f"{path} is not a complete checkpoint of sslbench ({type(error).__name__}); move it "
            "away and run the same command again to start from the beginning."
        ) from None
    if not isinstance(state, dict) or "format" not in state:
        raise UserError(f"{path} was not written by sslbench; move it away and start again.")
    if state["format"] != FORMAT:
        raise UserError(
            f"{path} has format {state['format']}, this version of sslbench reads {FORMAT}; "
            "finish the run with the version that began it, or move the file away."
        )
    if digest is not None and state.get("digest") != digest:
        raise UserError(f"{path} belongs to another run; move it away and start again.")
    return state


def _check_sums(path: Path) -> None:
    """Compare every record with its checksum, which `torch.save` writes and `torch.load` ignores:
    half a second for a gigabyte, once a resume."""
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(name)


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a module's weights as safetensors, whole or not at all.

    Args:
        state: the module's state dict, from any device and in any memory format.
        metadata: text to text, kept in the file's header.
    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    write_atomically(path, safetensors_bytes(state, metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The state dict that `save_weights` wrote, on the CPU.

    Raises:
        UserError: no such file, or not a complete safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path}: no such file; finish the run with `sslbench pretrain`.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}); train or export it again."
        ) from None


class _Remembering:
    """A file for torch's writer that keeps the OSError which the writer turns into another."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()
