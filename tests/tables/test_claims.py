from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.tables.claims import Claim, parse
from sslbench.tables.estimates import Estimate, Outcome, Values
from sslbench.tables.predicates import VOCABULARY, judge

WIDTHS = {"w16": 16, "w64": 64, "w256": 256}


def values(cells: dict[str, float | tuple[float, ...]], *, missing: str = "") -> Values:
    """Numbers are exact, tuples are seeds; a name is "row" (column x) or "row.y"."""
    places = {}
    for name, value in cells.items():
        row, _, column = name.partition(".")
        seeds = isinstance(value, tuple)
        estimate = Estimate.of(value, points=True) if seeds else Estimate(float(value))
        places[row, column or "x"] = estimate
    shown = tuple(place for place in places if place[0] != "untrained")
    rows = {row for row, _ in places} | {"untrained", missing}
    return Values(
        cells=places,
        first="x",
        chance={"x": 10.0, "y": 10.0},
        shown=shown,
        alike=shown,
        changes={row: {"width": WIDTHS[row]} if row in WIDTHS else {} for row in rows},
        missing=frozenset({(missing, "x")} if missing else ()),
    )


NUMBERS = values(
    {
        "a": 70.0, "b": 65.0, "c": 12.0, "untrained": 25.0,
        "a.y": 60.0, "b.y": 50.0, "c.y": 10.0, "untrained.y": 25.0,
        "w16": 60.0, "w64": 66.0, "w256": 68.0, "w16.y": 60.0, "w64.y": 61.0, "w256.y": 61.5,
    },
    missing="gone",
)  # fmt: skip

HELD_AND_NOT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"greater": ["a", "b"], "by": 4}, {"greater": ["a", "b"], "by": 6}),
    ({"greater": ["a", "c"], "factor": 5}, {"greater": ["a", "c"], "factor": 6}),
    ({"greater": ["a", ["b", "c"]]}, {"greater": [["a", "c"], "b"]}),
    ({"less": ["c", 13]}, {"less": ["c", 12]}),
    ({"less": ["c", "b"], "by": 50}, {"less": ["c", "b"], "by": 54}),
    ({"not_below": ["b", "a"], "margin": 5}, {"not_below": ["b", "a"], "margin": 4}),
    ({"not_above": ["a", "b"], "margin": 5}, {"not_above": ["a", "b"], "margin": 4}),
    ({"order": ["a", "b", "c"]}, {"order": ["a", "c", "b"]}),
    ({"best": ["b", "a"]}, {"best": ["b"]}),
    ({"best": ["a"], "among": "all"}, {"best": ["a.y"], "among": "all"}),
    ({"worst": ["c"]}, {"worst": ["b"], "among": ["c", "a"]}),
    ({"increasing": ["c", "b", "a"]}, {"increasing": ["c", "a", "b"]}),
    ({"decreasing": ["a", "b", "c"]}, {"decreasing": ["c", "a"]}),
    ({"near_chance": ["c"]}, {"near_chance": ["c"], "factor": 1}),
    ({"collapsed": ["c"]}, {"collapsed": ["c", "b"]}),
    ({"above_untrained": ["a", "b"]}, {"above_untrained": ["c"]}),
    ({"at_least_halfway": ["a", "b"]}, {"at_least_halfway": ["c"]}),
    ({"within": ["a", "b", 68], "tolerance": 5.5}, {"within": ["a", "b"], "tolerance": 4}),
    ({"argmax_inside": ["c", "a", "b"]}, {"argmax_inside": ["a", "b", "c"]}),
    (
        {"less_sensitive": ["a", "b"], "than": ["a.y", "b.y"]},
        {"less_sensitive": ["a", "b"], "than": [["a.y", "b.y"], ["a.y", "a.y"]]},
    ),
    (
        {"less_sensitive": ["a", "b"], "than": ["a.y", "b.y"], "factor": 1.5},
        {"less_sensitive": ["a", "b"], "than": ["a.y", "b.y"], "factor": 2.5},
    ),
    (
        {"steadier": ["a.y", "b.y"], "than": ["a", "c"], "factor": 5},
        {"steadier": ["a.y", "b.y"], "than": ["a", "c"], "factor": 6},
    ),
    (
        {"steadier": ["w16", "w256", "w64"], "than": ["a", "b", "c"]},
        {"steadier": ["w16", "w256", "w64"], "than": ["w16.y", "w64.y", "a.y"]},
    ),
    (
        {"steeper": ["x"], "than": "y", "along": "width"},
        {"steeper": ["y"], "than": "x", "along": "width"},
    ),
    (
        {"correlated": ["x"], "with": {"y": 1}, "above": -0.6},
        {"correlated": ["x"], "with": {"y": -1}, "above": 0.6},
    ),
    ({"is_missing": ["gone"]}, {"is_missing": ["a"]}),
    (
        {"all": [{"greater": ["a", "b"]}, {"less": ["c", "b"]}]},
        {"all": [{"greater": ["a", "b"]}, {"less": ["b", "c"]}]},
    ),
    (
        {"any": [{"greater": ["b", "a"]}, {"less": ["c", "b"]}]},
        {"any": [{"greater": ["b", "a"]}, {"less": ["b", "c"]}]},
    ),
]


@pytest.mark.parametrize(("held", "not_held"), HELD_AND_NOT, ids=lambda p: str(p)[:60])
def test_predicates_on_exact_numbers(held: dict[str, Any], not_held: dict[str, Any]) -> None:
    assert judge(parse(held, where="test"), NUMBERS).outcome == "held"
    assert judge(parse(not_held, where="test"), NUMBERS).outcome == "not held"


def test_every_predicate_is_tested() -> None:
    assert {key for pair in HELD_AND_NOT for p in pair for key in p if key in VOCABULARY} == set(
        VOCABULARY
    )


def test_a_slope_counts_rows_that_are_the_same_run_once() -> None:
    claim = parse({"steeper": ["x"], "along": "width"}, where="test")
    seeds = {"w16": (60.0, 62.0), "w64": (61.0, 66.0), "w256": (66.0, 65.0)}
    alone = judge(claim, values(dict(seeds)))
    twice = values({**seeds, "twin": seeds["w256"]})
    changes = {**twice.changes, "twin": {"width": 256}}
    found = judge(claim, dataclasses.replace(twice, changes=changes))
    assert (found.outcome, found.detail) == (alone.outcome, alone.detail)


def test_a_predicate_can_speak_of_other_cells() -> None:
    """Every operand is renamed, nested ones and those of options too; columns and numbers stay."""
    data = {"all": [{"less_sensitive": ["a", "b.y"], "than": [["a", "b"], ["b", "a"]]},
                    {"greater": [["a", "b"], 3]}, {"best": ["a"], "among": "all"},
                    {"steeper": ["x"], "along": "width"}]}  # fmt: skip
    moved = parse(data, where="test").renamed(lambda name: name.replace("a", "c"))
    assert set(moved.operands()) == {"c", "b", "b.y"}
    assert moved.arguments[2].options == {"among": "all"}
    assert moved.arguments[3] == parse(data["all"][3], where="test")


NOISY = {"a": (70.0, 71.0, 70.5), "b": (70.2, 71.3, 69.8), "c": (11.0, 12.0, 11.5)}


@pytest.mark.parametrize(
    ("predicate", "outcome"),
    [
        ({"greater": ["a", "b"]}, "undecided"),
        ({"greater": ["a", "c"]}, "held"),
        ({"greater": ["c", "a"]}, "not held"),
        ({"greater": ["a", "gone"]}, "not measured"),
        ({"above_untrained": ["a"]}, "not measured"),
        ({"collapsed": ["c"]}, "held"),  # near chance, whatever the untrained encoder has
        ({"all": [{"greater": ["c", "a"]}, {"greater": ["a", "gone"]}]}, "not held"),
        ({"any": [{"greater": ["a", "c"]}, {"greater": ["a", "gone"]}]}, "held"),
        ({"best": ["b"]}, "undecided"),
        ({"best": ["a", "b"]}, "held"),
    ],
)
def test_predicates_on_seeds(predicate: dict[str, Any], outcome: Outcome) -> None:
    assert judge(parse(predicate, where="test"), values(dict(NOISY))).outcome == outcome


def test_nothing_is_the_best_of_one() -> None:
    assert judge(parse({"best": ["a"]}, where=""), values({"a": 70.0})).outcome == "not measured"


def test_row_ids_may_contain_dots() -> None:
    given = Values(
        cells={("ema-0.99", "x"): Estimate(72.5), ("ema-0.99", "y"): Estimate(1.0)},
        first="x", chance={}, shown=(), alike=(), changes={"ema-0.99": {}},
    )  # fmt: skip
    assert judge(parse({"greater": ["ema-0.99", "ema-0.99.y"]}, where=""), given).outcome == "held"


def test_a_cell_in_two_differences_counts_once() -> None:
    """The drop of b is smaller than that of c from the same a, whatever the spread of a."""
    given = values({"a": (60.0, 90.0), "b": (50.0, 50.1), "c": (40.0, 40.1)})
    predicate = parse({"less_sensitive": ["a", "b"], "than": ["a", "c"]}, where="test")
    assert judge(predicate, given).outcome == "held"
    assert "a" not in judge(predicate, given).detail.partition(" = ")[0]


def test_the_detail_says_what_decided() -> None:
    verdict = judge(parse({"less": ["c", 11]}, where="test"), NUMBERS)
    assert verdict.detail == "c = 12, needs < 11"
    verdict = judge(parse({"greater": ["a", "gone"]}, where="test"), NUMBERS)
    assert verdict.detail == "gone has no finite value"


def test_a_margin_that_is_forgiven_is_said() -> None:
    seeds = values({"a": (70.0, 71.0, 70.5), "b": (70.2, 71.3, 69.8)})
    verdict = judge(parse({"not_below": ["a", "b"], "margin": 3}, where="test"), seeds)
    assert verdict.outcome == "held"
    assert verdict.detail.startswith("a - b = 0.06667 ± ")
    assert verdict.detail.endswith(", needs not below 0 by more than 3 points")
    verdict = judge(parse({"not_above": ["a", "b"], "margin": 1}, where="test"), seeds)
    assert verdict.outcome == "undecided"
    assert verdict.detail.endswith(", needs not above 0 by more than 1 point")


# Two cells that every seed gives the same value, and two that are the same on average.
TIES = [
    {"a": (70.0, 70.0, 70.0), "b": (70.0, 70.0, 70.0), "c": (70.0, 70.0, 70.0)},
    {"a": (70.0, 71.0, 72.0), "b": (72.0, 71.0, 70.0), "c": (71.0, 70.0, 72.0)},
    {"a": (0.0, 0.0), "b": (0.0, 0.0), "c": (0.0, 0.0)},
    {"a": (70.0,), "b": (60.0,), "c": (50.0,)},
    {"a": 70.0, "b": 70.0, "c": 70.0},
]
STRICT: list[dict[str, Any]] = [
    {"greater": ["a", "b"]},
    {"greater": [["a", "b"], "c"]},
    {"greater": ["a", "b"], "by": 1},
    {"less": ["a", "b"]},
    {"order": ["a", "b", "c"]},
    {"best": ["a"], "among": ["b", "c"]},
    {"best": ["a", "b"], "among": ["c"]},
    {"worst": ["a"], "among": ["b", "c"]},
    {"increasing": ["a", "b", "c"]},
    {"decreasing": ["a", "b", "c"]},
    {"argmax_inside": ["a", "b", "c"]},
    {"less_sensitive": ["a", "b"], "than": ["b", "c"]},
    {"steadier": ["a", "b"], "than": ["b", "c"]},
]


@pytest.mark.parametrize("predicate", STRICT, ids=lambda p: str(p)[:60])
@pytest.mark.parametrize("cells", TIES, ids=["equal", "mixed", "zero", "one-seed", "published"])
def test_strict_words_never_hold_on_equal_values(
    predicate: dict[str, Any], cells: dict[str, Any]
) -> None:
    assert judge(parse(predicate, where="test"), values(dict(cells))).outcome != "held"


def test_strict_words_fail_by_a_surely_smaller_value() -> None:
    """A loss of less than a point is one."""
    seeds = values({"a": (70.0, 70.1, 70.05), "b": (70.7, 70.75, 70.8)})
    assert judge(parse({"greater": ["a", "b"]}, where="test"), seeds).outcome == "not held"
    assert judge(parse({"best": ["a"]}, where="test"), seeds).outcome == "not held"
    assert judge(parse({"increasing": ["b", "a"]}, where="test"), seeds).outcome == "not held"


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ({"id": "x", "says": "", "holds": {"graeter": ["a", "b"]}}, "did you mean 'greater'"),
        ({"id": "x", "says": "", "holds": {"greater": ["a", "b"], "bye": 1}}, "did you mean 'by'"),
        ({"id": "x", "says": "", "holds": "a > b"}, "holds: needs a mapping"),
        ({"id": "x", "says": "", "ours": {"greater": ["a", "b"]}}, "'words'"),
        ({"id": "x", "says": "", "hold": {}}, "did you mean 'holds'"),
        ({"says": ""}, "'id' is missing"),
        ({"id": "x", "says": "", "holds": {"greater": ["a", "b"], "less": []}}, "exactly one"),
        ({"id": "x", "says": "", "holds": {"greater": ["a"]}}, "two operands"),
        ({"id": "x", "says": "", "holds": {"within": ["a", "b"]}}, "'tolerance'"),
        ({"id": "x", "says": "", "holds": {"not_below": ["a", "b"]}}, "'margin'"),
        ({"id": "x", "says": "", "holds": {"not_below": ["a", "b"], "margin": 0}}, "above 0"),
        (
            {"id": "x", "says": "", "holds": {"greater": ["a", "b"], "by": -1}},
            "margin of not_below",
        ),
        ({"id": "x", "says": "", "holds": {"greater": ["a", "b"], "margin": 1}}, "no option"),
    ],
)
def test_a_broken_claim_is_refused_with_a_sentence(claim: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Claim.from_dict(claim, where="test")
