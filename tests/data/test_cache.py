"""The packed copy follows the bytes of the files, and is checked before it is used."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from sslbench.data import cache, digests, fingerprint, load, packed
from sslbench.data.dataset import Dataset
from sslbench.errors import DataWarning
from sslbench.recipes.specs import ImageSet

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def spec_of(path: Path) -> ImageSet:
    return ImageSet(name="folder", path=str(path), resolution=16)


def read(path: Path) -> Dataset:
    return load(spec_of(path), root=Path())


def pack_of(path: Path) -> Path:
    return path / ".sslbench" / "folder-16.safetensors"


# --- stale or not -------------------------------------------------------------------------------


def test_labels_swapped_between_files_of_equal_size_and_time_are_noticed(folder: Write) -> None:
    path = folder(num=1)
    files = [path / "train" / name / "0.png" for name in ("cat", "dog")]
    whole = max(f.stat().st_size for f in files)
    for file in files:  # what follows the end of a PNG is nothing
        file.write_bytes(file.read_bytes().ljust(whole, b"\0"))
        os.utime(file, (1, 1))
    before = read(path)
    files[0].rename(path / "aside")
    files[1].rename(files[0])
    (path / "aside").rename(files[1])
    assert {f.stat().st_mtime for f in files} == {1} and files[0].stat().st_size == whole
    after = read(path)
    assert torch.equal(after.train.images, before.train.images.flip(0))
    assert fingerprint(spec_of(path), root=Path()) == after.fingerprint != before.fingerprint


def test_bytes_written_over_with_the_time_put_back_are_noticed(
    folder: Write, save_png: Write
) -> None:
    path = folder(num=1)
    file = path / "train" / "cat" / "0.png"
    status = file.stat()
    read(path)
    save_png(file, colour=1)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert read(path).train.images[0, 0, 0, 0] == 1


def test_a_copy_elsewhere_needs_no_decoding(
    folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(folder(num=1))
    shutil.copytree(folder(num=1), tmp_path / "moved")  # with new times and inodes
    monkeypatch.setattr(packed, "read", None)
    assert read(tmp_path / "moved").fingerprint == before.fingerprint


def test_bytes_are_read_only_where_a_status_has_changed(
    folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(num=1)
    read(path)
    monkeypatch.setattr(digests, "content", None)
    read(path)
    os.utime(path / "train" / "cat" / "0.png", (1, 1))
    with pytest.raises(TypeError):
        read(path)


def test_files_that_no_pixels_come_from_are_not_read(
    folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(num=1)
    (path / "film.mp4").write_bytes(b"x" * 1000)
    seen: list[str] = []
    usual = digests._of_file
    monkeypatch.setattr(digests, "_of_file", lambda f: (seen.append(f.suffix), usual(f))[1])
    read(path)
    assert set(seen) == {".png"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"stamp": 1}', "[" * 100_000])
def test_a_damaged_note_of_the_digest_is_written_again(folder: Write, text: str) -> None:
    path = folder(num=1)
    before = read(path)
    memo = path / ".sslbench" / "folder.json"
    memo.write_text(text)
    assert read(path).fingerprint == before.fingerprint
    assert json.loads(memo.read_text())["stamp"]


# --- the file -----------------------------------------------------------------------------------


def test_packed_twice_are_the_same_bytes(folder: Write) -> None:
    path = folder(num=2)
    found = set()
    for _ in range(4):  # safetensors' own order of metadata is drawn anew every time
        read(path)
        found.add(pack_of(path).read_bytes())
        pack_of(path).unlink()
    assert len(found) == 1


def test_a_pack_of_an_earlier_format_is_quietly_replaced(
    folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(num=1)
    monkeypatch.setattr(
        cache.Header,
        "to_metadata",
        lambda self: {"source": "1:abc", "content": self.content, "classes": "[]"},
    )
    before = read(path)
    monkeypatch.undo()
    assert cache.read_header(pack_of(path)) is None
    assert read(path).fingerprint == before.fingerprint
    assert cache.read_header(pack_of(path)) is not None


def _cut(data: bytes) -> bytes:
    return data[:-7]


def _pixel(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _header(data: bytes) -> bytes:
    at = data.index(b"content") + 20
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _length(data: bytes) -> bytes:
    return b"\xff" * 8 + data[8:]


def _deep(data: bytes) -> bytes:
    text = b"[" * 100_000
    return len(text).to_bytes(8, "little") + text


def _list(data: bytes) -> bytes:
    text = b'{"__metadata__":{},"a":[1]}'
    return len(text).to_bytes(8, "little") + text


def _empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_cut, _pixel, _header, _length, _deep, _list, _empty])
def test_a_damaged_pack_is_named_and_made_again(
    folder: Write, damage: Callable[[bytes], bytes]
) -> None:
    path = folder(num=1)
    before, whole = read(path), pack_of(path).read_bytes()
    pack_of(path).unlink()  # the loaded tensors lie in the file
    pack_of(path).write_bytes(damage(whole))
    with pytest.warns(DataWarning, match=r"packed copy '.*folder-16\.safetensors' is damaged"):
        after = read(path)
    assert torch.equal(after.train.images, before.train.images)
    assert after.fingerprint == before.fingerprint == fingerprint(spec_of(path), root=Path())
    assert pack_of(path).read_bytes() == whole


def test_where_nothing_can_be_written_it_is_said(
    folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(num=1)

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(packed, "save_file", full)
    with pytest.warns(DataWarning, match=r"could not be kept in '.*' nor in '.*No space left"):
        assert len(read(path).train) == 2
    assert not list(tmp_path.rglob("*.tmp"))
