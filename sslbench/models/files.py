"""Reading and writing files of weights, without running any code in those that others wrote."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.memory import require_memory

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".torch", ".bin")


class _Inert:
    """Stands in for what files hold beside weights. Making one, in whatever way, does nothing."""

    def __new__(cls, *args: Any, **fields: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *args: Any, **fields: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# What people's files hold beside weights, by the name in the pickle, and what is made in its
# place: no code of these packages runs, and no value of theirs is kept.
_BESIDE = (
    *(
        (_Inert, name)
        for name in (
            "argparse.Namespace",  # DINO's command line
            "numpy.dtype",
            "numpy.ndarray",
            *(
                f"numpy.{core}.multiarray.{function}"
                for core in ("core", "_core")
                for function in ("scalar", "_reconstruct")
            ),
            *(
                f"numpy.dtypes.{kind}DType"
                for kind in ("Bool", "Int32", "Int64", "Float16", "Float32", "Float64", "Object")
            ),
            "mmengine.logging.history_buffer.HistoryBuffer",
            "builtins.getattr",  # of a HistoryBuffer's methods
            "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        )
    ),
    *(
        (OrderedDict, name)
        for name in (
            "vissl.utils.hydra_config.AttrDict",
            "pytorch_lightning.utilities.parsing.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict",
        )
    ),
)


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        tensors: by key; the keys of dictionaries within dictionaries are joined by dots, so that
            a file has the same keys when its author nested them and when a converter did not.
        groups: joined keys of the dictionaries, each with a dot at its end, "" among them.
        metadata: text in a safetensors file's header.
    """

    tensors: Mapping[str, Tensor]
    groups: tuple[str, ...] = ("",)
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_contents(path: Path) -> Contents:
    """The tensors of a file on the CPU.

    `.safetensors` holds nothing else; the others are read with `weights_only=True`, which builds
    tensors and plain containers; a few known objects beside them are passed over, everything else
    is refused.

    Raises:
        UserError: no such file, another suffix, not readable, larger than the memory, or no
            tensors in it.
    """
    require_weights_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    found, groups = _collect(_read_torch(path))
    if not found:
        raise UserError(f"{path}: holds no dictionary of tensors; export the encoder's state dict.")
    # A tensor may claim more values than the file has: one value, repeated.
    num_bytes = sum(t.numel() * t.element_size() for t in found.values())
    require_memory(num_bytes, what=f"{path}: reading it", remedy="use a machine with more")
    return Contents(found, groups)


def require_weights_file(path: Path) -> None:
    """Raise UserError unless the path is a file of a suffix that is read."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: weights are read from {', '.join(SUFFIXES)} files.")
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path.")
    if not path.is_file():
        raise UserError(f"{path}: not a file of weights; name one.")


def safetensors_bytes(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A state dict as a safetensors file, the same bytes for the same content.

    Args:
        state: from any device and in any memory format.
        metadata: text to text, kept in the header; the library writes it in no fixed order.
    """
    from safetensors.torch import save

    data = save(
        {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in state.items()
        },
        {"format": "pt", **metadata},
    )
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _collect(data: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of dictionaries within dictionaries, and the dictionaries' joined keys."""
    found: dict[str, Tensor] = {}
    groups: list[str] = []
    seen: set[int] = set()  # a dictionary may hold itself
    waiting = [("", data)]
    while waiting:
        group, value = waiting.pop()
        if id(value) in seen or not isinstance(value, Mapping):
            continue
        seen.add(id(value))
        groups.append(group)
        for key, inner in value.items():
            if isinstance(key, str) and isinstance(inner, Tensor):
                found.setdefault(group + key, inner)
            elif isinstance(key, str):
                waiting.append((f"{group}{key}.", inner))
    return found, tuple(groups)


def read_metadata(path: Path) -> dict[str, str]:
    """The text in a safetensors file's header; none in other files. Raises UserError."""
    require_weights_file(path)
    if path.suffix != ".safetensors":
        return {}
    with _opened(path) as file:
        return file.metadata() or {}


def _read_safetensors(path: Path) -> Contents:
    with _opened(path) as file:
        # The library checks the header against the file's size, so that this is all there is.
        size = path.stat().st_size
        require_memory(size, what=f"{path}: reading it", remedy="use a machine with more")
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if not tensors:
        raise UserError(f"{path}: holds no tensors; export the encoder's state dict.")
    return Contents(tensors, metadata=metadata)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except UserError:
        raise
    except (SafetensorError, OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a complete safetensors file ({error}); fetch or export it again."
        ) from None


def _read_torch(path: Path) -> Any:
    _require_unpacked_memory(path)
    try:
        with torch.serialization.safe_globals(list(_BESIDE)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; a refusal says enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise UserError(f"{path}: reading it needs more memory than there is.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # whatever bytes of unknown origin make the reader raise
        # torch's own sentence advises to switch the protection off: it is not passed on.
        if "TorchScript" in str(error):
            raise UserError(
                f"{path}: a TorchScript archive, which is a program; save the module's "
                "state_dict() and import that."
            ) from None
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise UserError(
                f"{path}: holds '{foreign[1]}', which is no tensor and could run code when read, "
                "and was not loaded; ask for its state dict alone, best as safetensors."
            ) from None
        raise UserError(
            f"{path}: not a complete PyTorch file ({type(error).__name__}); fetch it again."
        ) from None


def _require_unpacked_memory(path: Path) -> None:
    """Raise UserError where a file that torch would unpack is larger than the memory."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":  # the old format packs nothing
                size = path.stat().st_size
            else:
                with zipfile.ZipFile(file) as archive:
                    size = sum(member.file_size for member in archive.infolist())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: not a complete PyTorch file ({type(error).__name__}); fetch it again."
        ) from None
    require_memory(size, what=f"{path}: unpacking it", remedy="use a machine with more")
