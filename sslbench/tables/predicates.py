"""The vocabulary of claims: predicates over cells, each judged by intervals.

Every rule reduces to weighted sums of cells that must be above a threshold. Strict words forgive
nothing: equal values never hold. `not_below` and `not_above` forgive the margin that the claim
states, in the unit of its cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, permutations
from typing import Any

from sslbench.tables.comparisons import Operand, Test, Verdict, all_of, any_of, compare
from sslbench.tables.correlation import correlated
from sslbench.tables.estimates import NotNegative, Outcome, Values, every, positive
from sslbench.tables.predicate import Predicate


def judge(predicate: Predicate, values: Values) -> Verdict:
    """Whether the predicate holds on these values."""
    return VOCABULARY[predicate.kind][0](predicate, values)


def _list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _pairs(p: Predicate, values: Values, sign: float) -> Verdict:
    """a against b, for every a of the first and b of the second argument; strict, unless the claim
    states a margin."""
    # a > factor b + by; with the other sign a < factor b - by.
    by, factor = float(p.options.get("by", 0)), float(p.options.get("factor", 1))
    test: Test = NotNegative(float(p.options["margin"])) if "margin" in p.options else positive
    left, right = (_list(side) for side in p.arguments)
    return all_of(
        [compare(values, [(sign, a), (-sign * factor, b)], -by, test) for a in left for b in right]
    )


def _others(p: Predicate, values: Values) -> list[str]:
    among = p.options.get("among")
    if among == "all":
        among = [f"{row}.{column}" for row, column in values.alike]
    chosen = {values.place(str(a)) for a in p.arguments}
    among = values.column(str(p.arguments[0])) if among is None else among
    return [o for o in among if values.place(o) not in chosen]


# --- the vocabulary -----------------------------------------------------------------------------


def _greater(p: Predicate, values: Values) -> Verdict:
    return _pairs(p, values, 1.0)


def _less(p: Predicate, values: Values) -> Verdict:
    return _pairs(p, values, -1.0)


def _extreme(sign: float) -> Callable[[Predicate, Values], Verdict]:
    """One of the cells beats every cell that is not among them (or is beaten by it)."""

    def evaluate(p: Predicate, values: Values) -> Verdict:
        others = _others(p, values)
        if not others:
            return Verdict("not measured", "there is no other cell")
        return any_of(
            [
                all_of([compare(values, [(sign, a), (-sign, o)], 0, positive) for o in others])
                for a in p.arguments
            ]
        )

    return evaluate


def _monotone(sign: float) -> Callable[[Predicate, Values], Verdict]:
    """Every step of the series goes one way."""

    def evaluate(p: Predicate, values: Values) -> Verdict:
        steps = pairwise(p.arguments)
        return all_of([compare(values, [(-sign, a), (sign, b)], 0, positive) for a, b in steps])

    return evaluate


def _near_chance(p: Predicate, values: Values) -> Verdict:
    factor = float(p.options.get("factor", 2))
    verdicts = []
    for cell in p.arguments:
        chance = values.chance.get(values.place(cell)[1], math.nan)
        if math.isnan(chance):
            return Verdict("not measured", f"chance is not defined for {cell}")
        verdicts.append(compare(values, [(-1, cell)], factor * chance, positive))
    return all_of(verdicts)


def _untrained(cell: str, values: Values) -> str:
    return f"untrained.{values.place(cell)[1]}"


def _collapsed(p: Predicate, values: Values) -> Verdict:
    """Below twice chance, or below the untrained encoder."""
    verdicts = []
    for cell in p.arguments:
        near = _near_chance(Predicate("near_chance", (cell,), p.options), values)
        below = compare(values, [(-1, cell), (1, _untrained(cell, values))], 0, positive)
        verdicts.append(any_of([near, below]))
    return all_of(verdicts)


def _above_untrained(p: Predicate, values: Values) -> Verdict:
    return all_of(
        [
            compare(values, [(1, cell), (-1, _untrained(cell, values))], 0, positive)
            for cell in p.arguments
        ]
    )


def _at_least_halfway(p: Predicate, values: Values) -> Verdict:
    """Above the middle between chance and every other row of the column."""
    verdicts = []
    for cell in p.arguments:
        chance = values.chance.get(values.place(cell)[1], math.nan)
        if math.isnan(chance):
            return Verdict("not measured", f"chance is not defined for {cell}")
        verdicts += [
            # cell > chance + (other - chance) / 2.
            compare(values, [(1, cell), (-0.5, other)], -chance / 2, positive)
            for other in values.column(cell)
            if values.get(other) is not None and values.place(other) != values.place(cell)
        ]
    return all_of(verdicts)


def _within(p: Predicate, values: Values) -> Verdict:
    """All operands lie less than `tolerance` apart."""
    tolerance = float(p.options["tolerance"])
    cells = p.arguments
    pairs = [(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :]]
    return all_of(
        [
            compare(values, [(sign, a), (-sign, b)], tolerance, positive)
            for a, b in pairs
            for sign in (1.0, -1.0)
        ]
    )


def _argmax_inside(p: Predicate, values: Values) -> Verdict:
    """Neither the first nor the last of an ordered series is the best: one inside beats both."""
    first, *inside, last = p.arguments
    return any_of(
        [
            all_of([compare(values, [(1, x), (-1, end)], 0, positive) for end in (first, last)])
            for x in inside
        ]
    )


def _less_sensitive(p: Predicate, values: Values) -> Verdict:
    """The drop from a to b, times `factor`, is smaller than every drop in `than`."""
    factor = float(p.options.get("factor", 1))
    a, b = p.arguments
    than = p.options["than"]
    drops = [than] if not isinstance(than[0], list) else than
    return all_of(
        [
            compare(values, [(1, c), (-1, d), (-factor, a), (factor, b)], 0, positive)
            for c, d in drops
        ]
    )


def _steadier(p: Predicate, values: Values) -> Verdict:
    """The range of the cells, times `factor`, is smaller than that of the cells in `than`: no
    difference between two of the former exceeds every difference between two of the latter."""
    factor = float(p.options.get("factor", 1))
    return all_of(
        [
            any_of(
                [
                    compare(values, [(1, c), (-1, d), (-factor, a), (factor, b)], 0, positive)
                    for c, d in permutations(p.options["than"], 2)
                ]
            )
            # Both signs of every difference: the largest of them is the range.
            for a, b in permutations(p.arguments, 2)
        ]
    )


def _steeper(p: Predicate, values: Values) -> Verdict:
    """A column's least-squares slope per doubling of the field `along` is positive, or exceeds
    that of the column `than`."""
    (column,), than, along = p.arguments, p.options.get("than"), p.options["along"]
    terms = _slope(column, along, values)
    terms += [] if than is None else [(-w, o) for w, o in _slope(than, along, values)]
    if not terms:
        return Verdict("not measured", f"fewer than two measured points along {along}")
    less = "" if than is None else f" - slope of {than}"
    # The weights of single cells tell nobody much.
    called = f"slope of {column}{less} per doubling"
    return compare(values, terms, 0, positive, called=called)


def _slope(column: str, along: str, values: Values) -> list[tuple[float, Operand]]:
    """Least-squares weights of the measured cells of a column against log2 of a row's field; two
    rows that are the same run count once."""
    cells = {
        (math.log2(float(str(values.changes[row][along]))), values.cells[row, c]): f"{row}.{c}"
        for row, c in values.shown
        if c == column and along in values.changes[row] and (row, c) in values.cells
    }
    points = [(x, cell) for (x, _), cell in cells.items()]
    if len({x for x, _ in points}) < 2:
        return []
    mean = math.fsum(x for x, _ in points) / len(points)
    total = math.fsum((x - mean) ** 2 for x, _ in points)
    return [((x - mean) / total, cell) for x, cell in points]


def _is_missing(p: Predicate, values: Values) -> Verdict:
    """No finite value: not printed in the paper, diverged in ours."""
    outcomes: list[Outcome] = []
    for cell in p.arguments:
        absent: Outcome = "held" if values.place(cell) in values.missing else "not measured"
        outcomes.append("not held" if values.get(cell) is not None else absent)
    return Verdict(every(outcomes))


_Rule = Callable[[Predicate, Values], Verdict]
VOCABULARY: dict[str, tuple[_Rule, tuple[str, ...]]] = {
    "greater": (_greater, ("by", "factor")),
    "less": (_less, ("by", "factor")),
    "not_below": (_greater, ("margin",)),
    "not_above": (_less, ("margin",)),
    "order": (_monotone(-1.0), ()),
    "best": (_extreme(1.0), ("among",)),
    "worst": (_extreme(-1.0), ("among",)),
    "increasing": (_monotone(1.0), ()),
    "decreasing": (_monotone(-1.0), ()),
    "near_chance": (_near_chance, ("factor",)),
    "collapsed": (_collapsed, ("factor",)),
    "above_untrained": (_above_untrained, ()),
    "at_least_halfway": (_at_least_halfway, ()),
    "within": (_within, ("tolerance",)),
    "argmax_inside": (_argmax_inside, ()),
    "less_sensitive": (_less_sensitive, ("than", "factor")),
    "steadier": (_steadier, ("than", "factor")),
    "steeper": (_steeper, ("than", "along")),
    "correlated": (correlated, ("with", "above")),
    "is_missing": (_is_missing, ()),
    "all": (lambda p, values: all_of([judge(q, values) for q in p.arguments]), ()),
    "any": (lambda p, values: any_of([judge(q, values) for q in p.arguments]), ()),
}
