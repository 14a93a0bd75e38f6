"""What disks, editors and people do to a file: each mutation of a file's bytes by name, seeded."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2.5, "", "text", "1e-3", "../../x", "nan", [], {}, [1], [[]],
    {"a": 1}, {"kind": "EMA"}, "\x1b[31m", "x" * 10_000, "\u2028", "é",
]  # fmt: skip
HUGE: list[Any] = [10**400, -(10**400), 10**19, 2**63, 2**31, 10**9, 1e300, -1e300, 1e-300, 10**6]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]

Mutation = Callable[[random.Random, Path, bytes], None]


def truncated(chance: random.Random, path: Path, data: bytes) -> None:
    path.write_bytes(data[: chance.randrange(max(1, len(data)))])


def empty(chance: random.Random, path: Path, data: bytes) -> None:
    path.write_bytes(chance.choice([b"", b" ", b"\n\n", b"\0"]))


def binary(chance: random.Random, path: Path, data: bytes) -> None:
    path.write_bytes(chance.randbytes(chance.choice([1, 10, 1000])))


def flipped(chance: random.Random, path: Path, data: bytes) -> None:
    content = bytearray(data)
    for _ in range(chance.choice([1, 3, 30])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(bytes(content))


def not_utf8(chance: random.Random, path: Path, data: bytes) -> None:
    place = chance.randrange(len(data))
    path.write_bytes(
        data[:place] + chance.choice([b"\xff", b"\xe4", b"\xed\xa0\x80"]) + data[place:]
    )


def byte_order_mark(chance: random.Random, path: Path, data: bytes) -> None:
    mark = chance.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
    path.write_bytes(mark + data)


def folder(chance: random.Random, path: Path, data: bytes) -> None:
    path.unlink()
    path.mkdir()


def link(chance: random.Random, path: Path, data: bytes) -> None:
    path.unlink()
    path.symlink_to(chance.choice([path, Path("/nowhere"), path.parent, Path("/dev/null")]))


def absent(chance: random.Random, path: Path, data: bytes) -> None:
    path.unlink()


def swapped(chance: random.Random, path: Path, data: bytes) -> None:
    others = [p for p in path.parent.rglob("*") if p.is_file() and p != path]
    path.write_bytes(chance.choice(others).read_bytes() if others else b"{}")


def deep(chance: random.Random, path: Path, data: bytes) -> None:
    depth = chance.choice([20, 40, 300, 900, 100_000])
    path.write_text(
        chance.choice(["[" * depth + "]" * depth, '{"a": ' * depth + "1" + "}" * depth])
    )


def duplicated(chance: random.Random, path: Path, data: bytes) -> None:
    """A line, or the first key of an object, stands twice."""
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines))
    lines.insert(place, lines[place])
    path.write_bytes(b"".join(lines))


BYTES: dict[str, Mutation] = {
    f.__name__.replace("_", " "): f
    for f in (truncated, empty, binary, flipped, not_utf8, byte_order_mark, folder, link, absent,
              swapped, deep, duplicated)
}  # fmt: skip


# --------------------------------------------------------------------- values inside JSON and YAML


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = (
        value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    )
    for key, item in ((key, value[key]) for key in items):
        yield from _places(item, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _replaced(chance: random.Random, value: Any, new: Any) -> Any:
    value = copy.deepcopy(value)
    path = chance.choice(list(_places(value)))
    if not path:
        return new
    _at(value, path[:-1])[path[-1]] = new
    return value


def wrong_value(chance: random.Random, value: Any) -> Any:
    return _replaced(chance, value, chance.choice(ODD))


def huge_number(chance: random.Random, value: Any) -> Any:
    return _replaced(chance, value, chance.choice(HUGE))


def not_finite(chance: random.Random, value: Any) -> Any:
    return _replaced(chance, value, chance.choice(NOT_FINITE))


def deep_value(chance: random.Random, value: Any) -> Any:
    deep: Any = 1
    for _ in range(chance.choice([5, 40, 200])):
        deep = chance.choice([[deep], {"a": deep}])
    return _replaced(chance, value, deep)


def half_character(chance: random.Random, value: Any) -> Any:
    return _replaced(chance, value, "\ud800")


def missing_key(chance: random.Random, value: Any) -> Any:
    value = copy.deepcopy(value)
    path = chance.choice([p for p in _places(value) if p] or [()])
    if path:
        del _at(value, path[:-1])[path[-1]]
    return value


def extra_key(chance: random.Random, value: Any) -> Any:
    value = copy.deepcopy(value)
    mappings = [p for p in _places(value) if isinstance(_at(value, p), dict)]
    if mappings:
        _at(value, chance.choice(mappings))[chance.choice(["more", "", "a.b", "*", "kind"])] = 1
    return value


def odd_key(chance: random.Random, value: Any) -> Any:
    """A key that is no text, which YAML alone can write."""
    value = copy.deepcopy(value)
    mappings = [p for p in _places(value) if isinstance(_at(value, p), dict)]
    if mappings:
        _at(value, chance.choice(mappings))[chance.choice([1, None, True, 2.5])] = 1
    return value


VALUES: dict[str, Callable[[random.Random, Any], Any]] = {
    f.__name__.replace("_", " "): f
    for f in (wrong_value, huge_number, not_finite, deep_value, half_character, missing_key,
              extra_key, odd_key)
}  # fmt: skip


def in_json(change: Callable[[random.Random, Any], Any]) -> Mutation:
    """The mutation of a value as one of a JSON file."""

    def mutation(chance: random.Random, path: Path, data: bytes) -> None:
        path.write_text(json.dumps(change(chance, json.loads(data))))

    return mutation


def in_lines(change: Callable[[random.Random, Any], Any]) -> Mutation:
    """The mutation of a value as one of a line of JSON among others."""

    def mutation(chance: random.Random, path: Path, data: bytes) -> None:
        lines = [json.loads(line) for line in data.splitlines()]
        place = chance.randrange(len(lines))
        lines[place] = change(chance, lines[place])
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return mutation


def in_yaml(change: Callable[[random.Random, Any], Any]) -> Mutation:
    """The mutation of a value as one of a YAML file."""

    def mutation(chance: random.Random, path: Path, data: bytes) -> None:
        value = change(chance, yaml.safe_load(data))
        path.write_bytes(yaml.safe_dump(value, sort_keys=False).encode("utf-8", "surrogatepass"))

    return mutation


# ------------------------------------------------------------------------- arrays and checkpoints


def other_arrays(chance: random.Random, path: Path, data: bytes) -> None:
    """Predictions that are missing, empty, of another length, kind or number of dimensions."""
    with np.load(io.BytesIO(data)) as arrays:
        found = dict(arrays)
    name = chance.choice(list(found))
    found[name] = chance.choice(
        [np.zeros(0, int), found[name][:-1], found[name].astype(float), found[name][None],
         found[name].astype(str), np.array(3), np.array([{}, []], dtype=object),
         np.full(len(found[name]), -(2**40))]
    )  # fmt: skip
    if chance.random() < 0.2:
        del found[name]
    np.savez_compressed(path, **found)


def bomb(chance: random.Random, path: Path, data: bytes) -> None:
    """Predictions that unpack to far more than they are."""
    np.savez_compressed(path, label=np.zeros(10**7, np.int8), predicted=np.zeros(10**7, np.int8))


def other_objects(chance: random.Random, path: Path, data: bytes) -> None:
    """A checkpoint that is whole, and holds something else."""
    import torch

    found: list[Any] = [[], {}, 3, "x", torch.zeros(2), Path("x"), {"format": 99}, {"format": 1},
                        {"format": [1]}, {"format": 1, "digest": [1]}]  # fmt: skip
    torch.save(chance.choice(found), path)


def restore(path: Path, data: bytes) -> None:
    """The file as it was, whatever stands in its place."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.rmdir()
    path.write_bytes(data)
