"""Tar shards: written by `pack`, and those of other programs."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.data import fingerprint, load
from sslbench.data.streaming import packing
from sslbench.data.streaming.packing import write_shards
from sslbench.errors import UserError
from tests.data.streaming.conftest import spec_of, write_set


def add(path: Path, members: dict[str, bytes]) -> None:
    """A tar file, as another program writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def png(pictures: Path) -> Callable[[int], bytes]:
    """The bytes of one of the pictures."""
    return lambda n: (pictures / "train" / "cat" / f"{n:03}.png").read_bytes()


def test_packed_shards_are_the_set_that_they_were_made_of(pictures: Path, tmp_path: Path) -> None:
    found = write_shards(pictures, tmp_path / "out", shard_bytes=6000)
    assert found.images == 64 and found.shards == found.written > 4
    first = load(spec_of(pictures), root=tmp_path)
    for stream in (True, False):
        second = load(spec_of(tmp_path / "out", stream=stream), root=tmp_path)
        assert first.classes == second.classes and first.mean == second.mean
        for a, b in ((first.train, second.train), (first.test, second.test)):
            assert torch.equal(a.images[:], b.images[:])
            assert a.labels is not None and b.labels is not None
            assert torch.equal(a.labels, b.labels)


def test_packing_goes_on_where_it_was_stopped(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(pictures, tmp_path / "whole", shard_bytes=6000)
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(pictures, tmp_path / "out", shard_bytes=6000, progress=stop)
    with pytest.raises(UserError, match=r"has 3 of \d+ shards; run the `sslbench pack`"):
        load(spec_of(tmp_path / "out"), root=tmp_path)
    found = write_shards(pictures, tmp_path / "out", shard_bytes=6000)
    assert found.written == found.shards - 3
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_shard_is_written_whole_or_not_at_all(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, calls = packing._add, []

    def fail(*args: object) -> None:
        calls.append(args)
        if len(calls) == 9:
            raise OSError(28, "No space left on device")
        usual(*args)

    monkeypatch.setattr(packing, "_add", fail)
    with pytest.raises(UserError, match="the disk is full"):
        write_shards(pictures, tmp_path / "out", shard_bytes=10**6)
    assert not list((tmp_path / "out").glob("*tar*"))


def test_shards_of_other_images_are_not_written_over(pictures: Path, tmp_path: Path) -> None:
    write_shards(pictures, tmp_path / "out", shard_bytes=6000)
    with pytest.raises(UserError, match="holds shards of other images, or of another size"):
        write_shards(pictures, tmp_path / "out", shard_bytes=9000)
    add(tmp_path / "mine" / "a.tar", {})
    with pytest.raises(UserError, match="holds shards already"):
        write_shards(pictures, tmp_path / "mine", shard_bytes=9000)


def test_images_without_labels_are_packed_and_read_as_flat(pictures: Path, tmp_path: Path) -> None:
    write_shards(pictures / "train", tmp_path / "out", shard_bytes=6000)
    data = load(spec_of(tmp_path / "out", name="flat"), root=tmp_path)
    assert data.counts() == {"train": 43, "test": 5, "unlabelled": 0, "classes": 0}
    plain = load(spec_of(pictures / "train", name="flat"), root=tmp_path)
    total = [sum(int(half.images[:].sum()) for half in (d.train, d.test)) for d in (data, plain)]
    assert total[0] == total[1]


def test_labels_come_from_cls_members_in_any_order(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    members = {"b.cls": b"1\n", "b.png": png(0), "a.PNG": png(1), "a.cls": b"0", "a.json": b"{}"}
    for half in ("x-train-0", "x-validation-0"):
        add(tmp_path / f"{half}.tar", members)
    data = load(spec_of(tmp_path), root=tmp_path)
    assert data.classes == ("0", "1") and data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1]
    before = data.fingerprint
    (tmp_path / "classes.json").write_text(json.dumps(["cat", "dog"]))
    assert load(spec_of(tmp_path), root=tmp_path).classes == ("cat", "dog")
    assert fingerprint(spec_of(tmp_path), root=tmp_path) != before


def test_labels_come_from_folders_where_there_is_no_cls(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    for half in ("train", "test"):
        add(tmp_path / f"{half}.tar", {"x/dog/1.png": png(0), "x/cat/1.png": png(1)})
    data = load(spec_of(tmp_path), root=tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.train.labels is not None and data.train.labels.tolist() == [0, 1]
    pixels = np.asarray(Image.open(io.BytesIO(png(1)))).transpose(2, 0, 1)  # the cat's
    assert np.array_equal(data.train.images[0].numpy(), pixels)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": b"", "b.png": b""}, "neither a .cls with its class's number nor a folder"),
        ({"a.png": b"", "a.cls": b"cat"}, "'a.cls' holds no class's number"),
        ({"a.png": b"", "a.jpg": b"", "a.cls": b"0"}, "two images of one name, 'a'"),
        ({"a.png": b"", "a.cls": b"0", "cat/b.png": b""}, "a .cls for some images and none"),
    ],
)
def test_shards_that_make_no_set(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    for half in ("train", "val"):
        add(tmp_path / f"{half}.tar", members)
    with pytest.raises(UserError, match=message):
        load(spec_of(tmp_path), root=tmp_path)


def test_shards_that_are_damaged_packed_or_of_one_half(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    whole = {"dog/1.png": png(0), "cat/1.png": png(1)}
    add(tmp_path / "train.tar", whole)
    with pytest.raises(UserError, match="no shard with val or test in its name"):
        load(spec_of(tmp_path), root=tmp_path)
    path = tmp_path / "val.tar"
    for damage in (lambda x: x[:700], lambda x: b"\x1f\x8b" + x[2:], lambda x: b""):
        add(path, whole)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(UserError, match=f"'{path}' is not a whole tar file") as seen:
            load(spec_of(tmp_path), root=tmp_path)
        assert "\n" not in str(seen.value)


def test_a_broken_member_is_named_with_its_shard(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    for half in ("train", "val"):
        add(tmp_path / f"{half}.tar", {"dog/1.png": png(0)[:90], "cat/1.png": png(1)})
    with pytest.raises(UserError, match=r"train.tar: dog/1.png' is not a readable image"):
        load(spec_of(tmp_path), root=tmp_path)


def test_a_set_is_packed_from_a_written_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        write_shards(tmp_path, tmp_path / "out", shard_bytes=1000)
    assert not (tmp_path / "out").exists()
    write_set(tmp_path / "set", train=1, test=1)
    assert write_shards(tmp_path / "set", tmp_path / "out", shard_bytes=1).shards == 4
