from __future__ import annotations

import collections
import contextlib
import random
import sys
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sslbench import memory
from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.export import load_encoder_file
from sslbench.models.files import read_contents, safetensors_bytes
from sslbench.recipes.specs import NarrowResNet

NARROW = NarrowResNet(width=4, blocks=(1,))
WEIGHTS = {"w": torch.ones(2)}


def test_keys_of_nested_dictionaries_are_joined(tmp_path: Path) -> None:
    value: dict[str, Any] = {"a": {"b": {"c.d": torch.ones(2)}, "e": torch.ones(1)}, 3: "x"}
    value["itself"] = value
    torch.save(value, tmp_path / "f.pt")
    contents = read_contents(tmp_path / "f.pt")
    assert set(contents.tensors) == {"a.b.c.d", "a.e"}
    assert set(contents.groups) == {"", "a.", "a.b."}


@pytest.mark.parametrize(
    "beside",
    [
        np.float64(71.3),
        np.float32(71.3),
        np.int64(200),
        np.bool_(True),
        np.arange(3.0),
        np.dtype("float32"),
        {"best_acc1": np.float64(1), "hist": [np.int64(2)]},
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("old", [False, True])
def test_what_numpy_has_beside_the_weights_is_passed_over(
    beside: Any, old: bool, tmp_path: Path
) -> None:
    path = tmp_path / "f.pth"
    value = {"state_dict": WEIGHTS, "beside": beside}
    torch.save(value, path, _use_new_zipfile_serialization=not old)
    assert set(read_contents(path).tensors) == {"state_dict.w"}


class HistoryBuffer:
    """As mmengine's: arrays, and its own methods by name."""

    def __init__(self) -> None:
        self._log_history = np.array([1.0, 2.0])
        self.statistics = {"mean": HistoryBuffer.mean}

    def mean(self) -> float:
        return float(self._log_history.mean())


class AttrDict(dict):  # type: ignore[type-arg]
    """As VISSL's configuration."""


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        (HistoryBuffer, "mmengine.logging.history_buffer"),
        (AttrDict, "vissl.utils.hydra_config"),
    ],
)
def test_objects_of_known_projects_are_passed_over(
    kind: type, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = types.ModuleType(module)
    setattr(fake, kind.__name__, kind)
    with monkeypatch.context() as patch:
        for end, letter in enumerate(f"{module}."):
            if letter == ".":
                patch.setitem(sys.modules, module[:end], fake)
        patch.setattr(kind, "__module__", module)
        held = kind()
        if isinstance(held, dict):
            held["lr"] = 0.3
        log = collections.OrderedDict(loss=held)
        torch.save({"state_dict": WEIGHTS, "message_hub": log}, tmp_path / "f.pth")
    assert set(read_contents(tmp_path / "f.pth").tensors) == {"state_dict.w"}


class ByName:
    """Asks for a function by `getattr`, which is passed over, and for a path, which is not."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return (getattr, (self.proof, "touch"))


def test_what_is_passed_over_runs_no_code(tmp_path: Path) -> None:
    path, proof = tmp_path / "f.pth", tmp_path / "it ran"
    torch.save({"w": torch.ones(2), "x": ByName(proof)}, path)
    with pytest.raises(UserError, match="pathlib"):
        read_contents(path)
    for code in (eval, exec, __import__, np.load, np.frompyfunc):
        torch.save({"w": torch.ones(2), "x": code}, path)
        with pytest.raises(UserError, match="could run code"):
            read_contents(path)
    assert not proof.exists()


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 1000)
        archive.infolist()[0].file_size = 10**14  # as the directory says it
    with pytest.raises(UserError, match=r"unpacking it: about 100 TB of memory"):
        read_contents(path)


def test_a_file_larger_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(WEIGHTS, tmp_path / "f.safetensors")
    torch.save(WEIGHTS, tmp_path / "f.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    for name in ("f.safetensors", "f.pth", "old.pth"):
        with pytest.raises(UserError, match="of memory"):
            read_contents(tmp_path / name)


def test_one_value_repeated_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1).expand(10**7, 10**7)}, tmp_path / "f.pth")
    with pytest.raises(UserError, match="of memory"):
        read_contents(tmp_path / "f.pth")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w.to(torch.complex64), "no plain real numbers .complex64"),
        (lambda w: w.to_sparse(), "no plain real numbers .float32, torch.sparse"),
        (lambda w: w.to("meta"), "no plain real numbers .float32, torch.strided, meta"),
        (lambda w: (w * 100).to(torch.int8), "whole numbers .int8"),
        (lambda w: w * float("nan"), "not finite.*get another"),
        (lambda w: w.double() + 1e300, "not finite"),
    ],
    ids=["complex", "sparse", "meta", "int8", "nan", "too-large"],
)
def test_weights_that_are_no_plain_finite_numbers_are_refused(
    spoil: Any, says: str, tmp_path: Path
) -> None:
    state = build_encoder(NARROW, resolution=8).state_dict()
    state["conv1.weight"] = spoil(state["conv1.weight"])
    torch.save(state, tmp_path / "f.pth")
    with pytest.raises(UserError, match=f"conv1.weight.*{says}"):
        load_encoder_file(tmp_path / "f.pth", NARROW, resolution=8)


def test_a_header_is_in_order_and_read_by_the_library(tmp_path: Path) -> None:
    metadata = {name: name * 3 for name in "qwertyuiopü"}
    files = {safetensors_bytes(WEIGHTS, metadata) for _ in range(8)}
    assert len(files) == 1
    (tmp_path / "f.safetensors").write_bytes(files.pop())
    contents = read_contents(tmp_path / "f.safetensors")
    assert contents.metadata == {"format": "pt", **metadata}
    assert contents.tensors["w"].equal(WEIGHTS["w"])


def test_a_torchscript_archive_is_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "f.pt"))
    with pytest.raises(UserError, match="TorchScript archive"):
        read_contents(tmp_path / "f.pt")


@pytest.mark.parametrize("name", ["folder.pt", "f.safetensors", "e.pth"])
def test_what_is_no_file_of_weights_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "f.safetensors").write_bytes(b"\xff" * 7)
    (tmp_path / "e.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=name):
        read_contents(tmp_path / name)


def test_damage_anywhere_in_a_file_is_a_sentence_or_harmless(tmp_path: Path) -> None:
    draw = random.Random(0)
    state = build_encoder(NARROW, resolution=8).state_dict()
    whole = {".safetensors": safetensors_bytes(state, {"a": "b"})}
    for suffix, new in ((".pth", True), (".pt", False)):
        path = tmp_path / f"whole{suffix}"
        torch.save({"w": state}, path, _use_new_zipfile_serialization=new)
        whole[suffix] = path.read_bytes()
    for case in range(150):
        suffix = draw.choice(list(whole))
        data = bytearray(whole[suffix])
        for _ in range(draw.choice([1, 2, 20])):
            at = draw.randrange(min(len(data), 3000))
            data[at : at + draw.choice([0, 1, 30])] = draw.randbytes(draw.choice([0, 1, 9]))
        path = tmp_path / f"{case}{suffix}"
        path.write_bytes(data)
        with contextlib.suppress(UserError):
            load_encoder_file(path, NARROW, resolution=8)
