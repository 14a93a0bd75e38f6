"""Whatever a disk or an editor did to a file is one sentence that names it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sslbench.errors import UserError
from sslbench.files import (
    entries,
    exists,
    parse_yaml,
    read_json,
    read_text,
    read_yaml,
    write_atomically,
)

BILLION_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML_FAULTS = {
    "a: 1\nb: [2\n": "line 3, column 1: did not find",
    "a: 1\nb: 2\na: 3\n": "line 3, column 1: the key 'a' stands twice",
    "true: 1\n": "a key must be text, not true; quote it",
    "1: 2\n": "a key must be text",
    "? [a]\n: 2\n": "a key must be text, not a list",
    "!!python/object:os.system {}\n": "line 1, column 1: could not determine a constructor",
    "a: &a [*a]\n": "holds itself",
    BILLION_LAUGHS: "too many values",
    "[" * 100_000: "maximum nesting depth|nested too deeply",
    "a: 2026-02-31\n": "a value cannot be read",
    "a: " + "9" * 5000 + "\n": "a value cannot be read",
    "a: \x07\n": "no YAML",
    "a: 1\n---\nb: 2\n": "line 2, column 1: but found another document",
}
JSON_FAULTS = {
    "": "no JSON at line 1, column 1",
    '{"a": 1': "no JSON at line 1",
    '{"a": 1, "a": 2}': "the key 'a' stands twice",
    "[" * 100_000: "nested too deeply",
    "9" * 5000: "Exceeds the limit",
    '"\\ud800"': "half a character",
}


@pytest.mark.parametrize("text", YAML_FAULTS, ids=lambda text: repr(text[:20]))
def test_a_malformed_yaml_file_is_one_sentence_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=YAML_FAULTS[text]) as caught:
        read_yaml(path)
    assert "mine.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", JSON_FAULTS, ids=lambda text: repr(text[:20]))
def test_a_malformed_json_file_is_one_sentence_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UserError, match=JSON_FAULTS[text]) as caught:
        read_json(path)
    assert "mine.json" in str(caught.value) and "\n" not in str(caught.value)


def test_an_argument_in_another_encoding_is_no_yaml() -> None:
    with pytest.raises(UserError, match="not text in UTF-8"):
        parse_yaml("K\udce4se")


def test_what_cannot_be_told_to_be_there_is_refused_and_a_missing_folder_is_empty(
    tmp_path: Path,
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "link")
    assert exists(tmp_path) and not exists(tmp_path / "absent" / "file")
    with pytest.raises(UserError, match="in a circle"):
        exists(tmp_path / "link")
    assert [p.name for p in entries(tmp_path)] == ["link"] and entries(tmp_path / "absent") == []
    with pytest.raises(UserError, match="in a circle"):
        entries(tmp_path / "link")


def test_aliases_and_merged_mappings_are_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: simclr\n")
    assert read_yaml(path) == {"name": "simclr"}


def test_what_is_not_utf8_says_at_which_byte(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes("name: Käse\n".encode("latin1"))
    with pytest.raises(UserError, match=r"mine.yaml is not text in UTF-8 \(byte 7\)"):
        read_text(path)


def test_no_file_a_folder_a_pipe_and_a_circle_of_links_are_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    holder = os.open(tmp_path / "pipe", os.O_RDWR)  # so that opening it does not wait
    try:
        for name, says in {
            "absent": "no such file",
            ".": "it is a folder",
            "pipe": "not a regular file",
            "link": "in a circle",
            "a\0b": "not a path",
            "x" * 300: "the name is too long",
        }.items():
            with pytest.raises(UserError, match=says):
                read_text(tmp_path / name)
    finally:
        os.close(holder)


def test_more_bytes_than_a_text_of_ours_can_have_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"has 1,099,512 MB where at most 4 are read"):
        read_yaml(path)


def test_a_folder_in_the_place_of_a_file_to_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    with pytest.raises(UserError, match=r"Cannot write .*out.json: it is a folder; name a file"):
        write_atomically(tmp_path / "out.json", "{}")
    assert not list(tmp_path.glob(".*"))


def test_a_file_in_the_place_of_a_folder_to_write_in_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"Cannot write .*out.json"):
        write_atomically(tmp_path / "out" / "out.json", "{}")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission")],
)
def test_a_write_that_fails_keeps_the_old_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=words):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("word", ["on", "Off", "yes", "NO"])
def test_what_yaml_reads_as_a_truth_value_is_a_word_as_a_key(word: str) -> None:
    assert parse_yaml(f"{word}: cifar10\n") == {word: "cifar10"}
