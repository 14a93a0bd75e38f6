from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.data import listing, load
from sslbench.errors import UserError
from sslbench.recipes.specs import ImageSet


def test_files_are_listed_in_sorted_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", ".sslbench/x", "b/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [part for part, _ in listing.walk(tmp_path)] == ["a.png", "b/10.png", "b/2.png"]


def test_suffixes_are_those_that_pillow_decodes() -> None:
    known = listing.suffixes()
    assert {".jpg", ".jfif", ".jpe", ".png", ".tif", ".webp", ".avif", ".mpo"} <= known
    assert not known & {".heic", ".eps", ".pdf", ".mpg", ".txt", ""}


@pytest.mark.parametrize(
    ("name", "suffix"), [("a/b.JPG", ".jpg"), ("a.b/c", ""), ("a/.x", ""), ("x.tar.gz", ".gz")]
)
def test_the_suffix_of_a_path(name: str, suffix: str) -> None:
    assert listing.suffix(name) == suffix


def test_a_link_to_a_folder_above_is_named(folder: Callable[..., Path]) -> None:
    path = folder(num=1)
    (path / "train" / "cat" / "back").symlink_to(path / "train")
    spec = ImageSet(name="folder", path=str(path), resolution=16)
    with pytest.raises(UserError, match="cat/back' links to a folder that it lies in"):
        load(spec, root=path)


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="loop' cannot be read: its links lead in a circle"):
        list(listing.walk(tmp_path))


def test_two_links_to_one_folder_are_no_circle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(b"")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [part for part, _ in listing.walk(tmp_path)] == ["a/0.png", "b/0.png"]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png' is neither file nor folder"):
        list(listing.walk(tmp_path))


def test_a_folder_that_cannot_be_read_is_named(
    folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, usual = folder(num=1), os.scandir

    def denied(place: str) -> object:
        if str(place).endswith("dog/"):
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return usual(place)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"train/dog/' cannot be read: permission denied"):
        load(ImageSet(name="folder", path=str(path), resolution=16), root=path)


def test_a_path_that_no_system_takes(tmp_path: Path) -> None:
    spec = ImageSet(name="folder", path=str(tmp_path / ("x" * 300)), resolution=16)
    with pytest.raises(UserError, match="the name is too long"):
        load(spec, root=tmp_path)
