"""A checkpoint is there whole or not at all, and reading one runs no code."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
from pathlib import Path

import pytest
import torch

from sslbench import files
from sslbench.engine import checkpoint
from sslbench.engine.checkpoint import (
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from sslbench.errors import UserError

STATE = {"digest": "abc", "step": 3, "recent": [0.5, 0.25], "nested": {"w": torch.arange(6.0)}}
LARGE = {"digest": "abc", "w": torch.zeros(2**19)}  # 2 MiB


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def assert_intact(path: Path):
    """The old checkpoint is there, and nothing else."""
    assert list(path.parent.iterdir()) == [path]
    assert load_checkpoint(path)["step"] == 3


def test_what_is_saved_is_what_is_loaded(path):
    state = load_checkpoint(path, digest="abc")
    assert state["recent"] == [0.5, 0.25]
    assert torch.equal(state["nested"]["w"], torch.arange(6.0))


def test_memory_format_survives(tmp_path):
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c.pt", {"w": weight})
    assert load_checkpoint(tmp_path / "c.pt")["w"].stride() == weight.stride()


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_an_end_just_before_the_rename_leaves_the_old_checkpoint(path, monkeypatch, where):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    owner = {"fsync": (files.os, "fsync"), "replace": (Path, "replace")}[where]
    monkeypatch.setattr(*owner, stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, LARGE)
    assert_intact(path)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "[Ee]rror")],
)
def test_a_failing_disk_is_a_sentence_and_leaves_the_old_checkpoint(
    path, monkeypatch, number, reason
):
    def fail(file, data):
        file.error = OSError(number, os.strerror(number))
        raise file.error

    monkeypatch.setattr(checkpoint._Remembering, "write", fail)
    with pytest.raises(UserError, match=reason):
        save_checkpoint(path, LARGE)
    assert_intact(path)


def test_a_write_that_stops_midway_leaves_the_old_checkpoint(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(UserError, match="too large"):
            save_checkpoint(path, LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_intact(path)


def test_a_full_disk_leaves_the_old_checkpoint_and_the_old_encoder(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    path, encoder = tmp_path / "checkpoint.pt", tmp_path / "encoder.safetensors"
    try:
        save_checkpoint(path, STATE)
        with pytest.raises(UserError, match="the disk is full; free some space"):
            save_checkpoint(path, LARGE)
        assert_intact(path)
        save_weights(encoder, {"w": torch.ones(2)}, {})
        with pytest.raises(UserError, match="the disk is full; free some space"):
            save_weights(encoder, {"w": LARGE["w"]}, {})
        assert torch.equal(load_weights(encoder)["w"], torch.ones(2))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_what_a_killed_process_left_is_written_over(path):
    (path.parent / ".checkpoint.pt.tmp").write_bytes(b"half a checkpo")
    save_checkpoint(path, STATE)
    assert_intact(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="not a complete checkpoint"):
        load_checkpoint(path)


def test_a_single_wrong_bit_in_a_weight_is_found(tmp_path):
    path, weight = tmp_path / "checkpoint.pt", torch.randn(1000)
    save_checkpoint(path, {"digest": "abc", "w": weight})
    data = bytearray(path.read_bytes())
    data[data.index(weight.numpy().tobytes()) + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a complete checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04", b"\x80\x04", bytes(4096)])
def test_another_kind_of_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a complete checkpoint"):
        load_checkpoint(path)


class Malice:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch"])
def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path, plain):
    path, target = tmp_path / "c.pt", tmp_path / "was-run"
    state = {"format": checkpoint.FORMAT, "x": Malice(target)}
    if plain:
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path)
    with pytest.raises(UserError, match="not a complete checkpoint"):
        load_checkpoint(path)
    assert not target.exists()
    if plain:
        pickle.loads(path.read_bytes())  # the file is what it claims to be
        assert target.exists()


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    torch.save({"model": torch.zeros(2)}, tmp_path / "c.pt")
    with pytest.raises(UserError, match="not written by sslbench"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_checkpoint_of_another_version_is_refused(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    with pytest.raises(UserError, match=f"format {checkpoint.FORMAT - 1}, this version"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_run_is_refused(path):
    with pytest.raises(UserError, match="belongs to another run"):
        load_checkpoint(path, digest="def")


@pytest.mark.parametrize("load", [load_checkpoint, load_weights])
def test_a_missing_file_is_a_sentence(tmp_path, load):
    with pytest.raises(UserError, match="no such"):
        load(tmp_path / "absent")


def test_an_encoder_and_its_metadata_come_back(tmp_path):
    from safetensors import safe_open

    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    state = {"conv.weight": weight, "tied": weight, "steps": torch.tensor(3)}
    save_weights(tmp_path / "e.safetensors", state, {"digest": "abc"})
    loaded = load_weights(tmp_path / "e.safetensors")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    with safe_open(tmp_path / "e.safetensors", "pt") as file:
        assert file.metadata()["digest"] == "abc"


def test_an_encoder_without_weights_is_a_file_too(tmp_path):
    save_weights(tmp_path / "e.safetensors", {}, {})
    assert load_weights(tmp_path / "e.safetensors") == {}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_encoder_is_refused(tmp_path, share):
    path = tmp_path / "e.safetensors"
    save_weights(path, {"w": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_weights(path)
