"""Plain data against annotations: what does not fit is refused by the name of its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NotRequired, TypedDict

import pytest

from sslbench.errors import UserError
from sslbench.typed import Real, read_as, require_name, typed


@dataclass(frozen=True, kw_only=True)
class Point:
    PRINTED: ClassVar = ("sum",)

    name: str
    values: Mapping[str, float | None]
    pairs: tuple[tuple[int, float], ...] = ()
    kind: Literal["open", "closed"] = "open"
    free: Any = None


class Note(TypedDict):
    text: str
    loss: NotRequired[Real]


def test_data_become_the_dataclass_and_a_whole_number_stays_one() -> None:
    data = {"name": "a", "values": {"x": 1, "y": None}, "pairs": [[0, 2.5]], "sum": 1}
    point = read_as(data, Point, where="p")
    assert point == Point(name="a", values={"x": 1, "y": None}, pairs=((0, 2.5),))
    assert type(point.values["x"]) is int


def test_a_typed_dictionary_keeps_what_it_does_not_know() -> None:
    note = read_as({"text": "t", "loss": math.inf, "more": [1]}, Note, where="n")
    assert note == {"text": "t", "loss": math.inf, "more": [1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nam": "b"}, "p: no such field 'nam'; did you mean 'name'"),
        ({"name": 3}, "p: name: needs text, got 3"),
        ({"name": None}, "p: name: needs text, not null"),
        ({"values": [1]}, "p: values: needs a mapping"),
        ({"values": {"x": "1"}}, "p: values.x: needs a finite number, got '1'"),
        ({"values": {"x": True}}, "p: values.x: needs a finite number, got True"),
        ({"values": {"x": math.nan}}, "p: values.x: needs a finite number, got nan"),
        ({"values": {1: 1}}, "p: values: a key must be text, not 1"),
        ({"values": {"x": 10**400}}, "p: values.x: .* larger than any number"),
        ({"pairs": [[0]]}, r"p: pairs\[0\]: needs 2 values, got 1"),
        ({"pairs": [[0.0, 1.0]]}, r"p: pairs\[0\]\[0\]: needs a whole number"),
        ({"kind": "opne"}, "p: kind: 'opne' is not one of open, closed; did you mean 'open'"),
        ({"kind": []}, "p: kind: "),
        ({"free": {"a": [math.nan]}}, "p: free: needs a finite number"),
        ({"free": object()}, "p: free: needs text or a number"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_as({"name": "a", "values": {}, **change}, Point, where="p")


def test_a_choice_may_be_of_numbers() -> None:
    assert typed(2, Literal[1, 2], where="x") == 2
    for value in (3, True, "2"):
        with pytest.raises(UserError, match=r"x: .* is not one of 1, 2"):
            typed(value, Literal[1, 2], where="x")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(UserError, match="p: 'values' is missing"):
        read_as({"name": "a"}, Point, where="p")


def test_data_of_any_shape_are_no_deeper_than_a_person_writes() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(UserError, match="more than 32 deep"):
        typed(deep, Any, where="x")


def test_numbers_may_be_text_where_yaml_is_written_by_hand() -> None:
    assert typed("1e-3", float, where="x", text=True) == 1e-3
    assert typed(2.0, int, where="x", text=True) == 2
    for value in ("nan", "1e400", "many", 2.5, True):
        with pytest.raises(UserError, match="x: needs a whole number"):
            typed(value, int, where="x", text=True)


@pytest.mark.parametrize("name", ["", "../up", "/tmp", "a/b", ".hidden", "a\n", "ä", "a" * 101])
def test_a_name_cannot_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(UserError, match="is no name"):
        require_name(name, "x")
    require_name("byol-2.0_b", "x")
