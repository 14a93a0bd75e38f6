"""Reading files of weights that others wrote, without running any code in them."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbench.errors import UserError

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar", ".ckpt")
# Where files keep the state dict, in order of preference: DINO is judged by its teacher.
_WRAPPERS = (
    "state_dict", "classy_state_dict", "base_model", "model", "trunk", "teacher", "student",
)  # fmt: skip


def read_tensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a file on the CPU by key, and the names of the dicts they lay in.

    `.safetensors` holds nothing else; the others are read with `weights_only=True`, which builds
    tensors and plain containers and refuses everything else.

    Raises:
        UserError: no such file, another suffix, not readable, or no tensors in it.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: weights are read from {', '.join(SUFFIXES)} files.")
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    data: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    inside: list[str] = []
    while isinstance(data, Mapping):
        tensors = {k: v for k, v in data.items() if isinstance(k, str) and isinstance(v, Tensor)}
        wrapper = next((k for k in _WRAPPERS if isinstance(data.get(k), Mapping)), None)
        if wrapper is None:
            if tensors:
                return tensors, tuple(inside)
            break
        inside.append(wrapper)
        data = data[wrapper]
    raise UserError(f"{path}: holds no dictionary of tensors; export the encoder's state dict.")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a complete safetensors file ({error}); fetch or export it again."
        ) from None


def _read_torch(path: Path) -> Any:
    try:
        # DINO's files carry their command line, a Namespace of plain values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; a refusal says enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes of unknown origin make the reader raise
        # torch's own sentence advises to switch the protection off: it is not passed on.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise UserError(
                f"{path}: holds '{foreign[1]}', which is no tensor and could run code when read, "
                "and was not loaded; ask for its state dict alone, best as safetensors."
            ) from None
        raise UserError(
            f"{path}: not a complete PyTorch file ({type(error).__name__}); fetch it again."
        ) from None
