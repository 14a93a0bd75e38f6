"""Claims: predicates of a closed vocabulary over cells, judged as held, not held or undecided.

    {id: predictor-needed, says: ..., holds: {near_chance: [no-predictor], factor: 2}}

An operand is "row" (first column), "row.column", or a number; `untrained` and `raw-pixels` are
rows of every table. `holds` applies to the published values and to ours; where a small scale must
be asked differently, `published` and `ours` stand instead. A claim that the paper states without
numbers has `words` (why) and only `ours`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sslbench.errors import UserError, did_you_mean
from sslbench.tables.estimates import (
    Contrast,
    Estimate,
    Outcome,
    Values,
    contrast,
    every,
    not_negative,
    positive,
    some,
)

Operand = str | float


@dataclass(frozen=True)
class Predicate:
    """One word of the vocabulary with its arguments (nested lists of operands) and options."""

    kind: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def operands(self) -> Iterator[str]:
        """The names of all cells it speaks of."""
        if self.kind == "steeper":
            return
        yield from _names(self.arguments)
        for name in ("than", "among"):
            if self.options.get(name) != "all":
                yield from _names(self.options.get(name, ()))


@dataclass(frozen=True)
class Verdict:
    """An outcome and the numbers that decided it."""

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and its two forms: on the published values, and on ours."""

    id: str
    says: str
    published: Predicate | None
    ours: Predicate | None
    words: str = ""
    note: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str) -> Claim:
        """Raises UserError for an unknown predicate or option, with the nearest names."""
        known = ("id", "says", "holds", "published", "ours", "words", "note")
        for key in data:
            if key not in known:
                raise UserError(f"{where}: no such field '{key}'{did_you_mean(str(key), known)}")
        if "id" not in data or "says" not in data:
            raise UserError(f"{where}: a claim needs 'id' and 'says'.")
        where = f"{where} ({data['id']})"
        both = data.get("holds")
        forms = {name: data.get(name, both) for name in ("published", "ours")}
        if forms["published"] is None and not data.get("words"):
            raise UserError(f"{where}: give 'holds', 'published', or 'words' saying why not.")
        parsed = {n: None if f is None else parse(f, where=where) for n, f in forms.items()}
        return cls(id=data["id"], says=data["says"], words=data.get("words", ""),
                   note=data.get("note", ""), **parsed)  # fmt: skip

    def operands(self) -> set[str]:
        """The names of all cells in both forms."""
        forms = (self.published, self.ours)
        return {name for form in forms if form is not None for name in form.operands()}


def parse(data: Any, *, where: str) -> Predicate:
    """A predicate from `{kind: arguments, option: value}`. Raises UserError."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: a predicate is a mapping such as {{greater: [a, b]}}.")
    kinds = [key for key in data if key in VOCABULARY]
    if len(kinds) != 1:
        unknown = [str(key) for key in data if key not in VOCABULARY]
        hint = did_you_mean(unknown[0], VOCABULARY) if unknown and not kinds else ""
        raise UserError(f"{where}: needs exactly one predicate, got {list(data)}{hint}")
    kind = kinds[0]
    allowed = VOCABULARY[kind][1]
    options = {key: value for key, value in data.items() if key != kind}
    for key in options:
        if key not in allowed:
            raise UserError(f"{where}: {kind} has no option '{key}'{did_you_mean(key, allowed)}")
    for key in REQUIRED.get(kind, ()):
        if key not in options:
            raise UserError(f"{where}: {kind} needs '{key}'.")
    arguments = data[kind] if isinstance(data[kind], list) else [data[kind]]
    if kind in PAIRS and len(arguments) != 2:
        raise UserError(f"{where}: {kind} needs two operands, got {len(arguments)}.")
    if kind in ("all", "any"):
        arguments = [parse(item, where=where) for item in arguments]
    return Predicate(kind, tuple(arguments), options)


def judge(predicate: Predicate, values: Values) -> Verdict:
    """Whether the predicate holds on these values."""
    return VOCABULARY[predicate.kind][0](predicate, values)


def _names(arguments: Any) -> Iterator[str]:
    if isinstance(arguments, str):
        yield arguments
    elif isinstance(arguments, Predicate):
        yield from arguments.operands()
    elif isinstance(arguments, (list, tuple)):
        for item in arguments:
            yield from _names(item)


# --- building blocks ----------------------------------------------------------------------------

_Test = Callable[[Contrast], Outcome]


def _compare(
    values: Values, terms: list[tuple[float, Operand]], constant: float, test: _Test
) -> Verdict:
    """Test the weighted sum of operands plus a constant."""
    constant += math.fsum(w * o for w, o in terms if not isinstance(o, str))
    named = _merged(values, [(w, o) for w, o in terms if isinstance(o, str)])
    estimates: list[tuple[float, Estimate]] = []
    for weight, operand in named:
        estimate = values.get(operand)
        if estimate is None:
            missing = values.place(operand) in values.missing
            why = "has no finite value" if missing else "is not measured"
            return Verdict("not measured", f"{operand} {why}")
        estimates.append((weight, estimate))
    c = contrast(estimates, constant)
    return Verdict(test(c), _shown(named, c, constant, test))


def _merged(values: Values, terms: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Each cell once: a baseline in two differences cancels, and its seeds must not count twice."""
    weights: dict[tuple[str, str], float] = {}
    names: dict[tuple[str, str], str] = {}
    for weight, name in terms:
        place = values.place(name)
        weights[place] = weights.get(place, 0.0) + weight
        names.setdefault(place, name)
    return [(weight, names[place]) for place, weight in weights.items() if weight]


def _shown(named: list[tuple[float, str]], c: Contrast, constant: float, test: _Test) -> str:
    """ "a - b = 1.2 ± 0.4, needs > 0": the first cell with a positive sign."""
    sign = -1.0 if named and named[0][0] < 0 else 1.0
    left = " ".join(_term(sign * w, o) for w, o in named).removeprefix("+ ")
    value = Contrast(sign * (c.value - constant), c.half, c.exact)
    strict, lenient = (">", "not below") if sign > 0 else ("<", "not above")
    needs = strict if test is positive else lenient
    return f"{left} = {value}, needs {needs} {-sign * constant + 0.0:.4g}"


def _term(weight: float, operand: str) -> str:
    size = "" if abs(weight) == 1 else f"{abs(weight):.3g} "
    return f"{'-' if weight < 0 else '+'} {size}{operand}"


def _all(verdicts: list[Verdict]) -> Verdict:
    return _fold(every, verdicts)


def _any(verdicts: list[Verdict]) -> Verdict:
    return _fold(some, verdicts)


def _fold(rule: Callable[[list[Outcome]], Outcome], verdicts: list[Verdict]) -> Verdict:
    """The combined outcome; the details are those of the verdicts that decided it."""
    outcome = rule([v.outcome for v in verdicts])
    details = dict.fromkeys(v.detail for v in verdicts if v.outcome == outcome and v.detail)
    return Verdict(outcome, "; ".join(list(details)[:4]) + ("; …" if len(details) > 4 else ""))


def _list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _pairs(p: Predicate, values: Values, sign: float, test: _Test) -> Verdict:
    """a against b, by a margin, for every a of the first and b of the second argument."""
    by, factor = float(p.options.get("by", 0)), float(p.options.get("factor", 1))
    left, right = (_list(side) for side in p.arguments)
    return _all(
        [_compare(values, [(sign, a), (-sign * factor, b)], -by, test) for a in left for b in right]
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
    return _pairs(p, values, 1.0, positive)


def _less(p: Predicate, values: Values) -> Verdict:
    return _pairs(p, values, -1.0, positive)


def _at_least(p: Predicate, values: Values) -> Verdict:
    return _pairs(p, values, 1.0, not_negative)


def _at_most(p: Predicate, values: Values) -> Verdict:
    return _pairs(p, values, -1.0, not_negative)


def _order(p: Predicate, values: Values) -> Verdict:
    steps = pairwise(p.arguments)
    return _all([_compare(values, [(1, a), (-1, b)], 0, positive) for a, b in steps])


def _extreme(sign: float) -> Callable[[Predicate, Values], Verdict]:
    """One of the cells is the best (or worst): no other lies beyond it."""

    def evaluate(p: Predicate, values: Values) -> Verdict:
        others = _others(p, values)
        return _any(
            [
                _all([_compare(values, [(sign, a), (-sign, o)], 0, not_negative) for o in others])
                for a in p.arguments
            ]
        )

    return evaluate


def _monotone(sign: float) -> Callable[[Predicate, Values], Verdict]:
    """No step goes back; on measured values the ends must also differ."""

    def evaluate(p: Predicate, values: Values) -> Verdict:
        def step(a: Operand, b: Operand, test: _Test) -> Verdict:
            return _compare(values, [(sign, b), (-sign, a)], 0, test)

        steps = [step(a, b, not_negative) for a, b in pairwise(p.arguments)]
        return _all([*steps, step(p.arguments[0], p.arguments[-1], positive)])

    return evaluate


def _near_chance(p: Predicate, values: Values) -> Verdict:
    factor = float(p.options.get("factor", 2))
    verdicts = []
    for cell in p.arguments:
        chance = values.chance.get(values.place(cell)[1], math.nan)
        if math.isnan(chance):
            return Verdict("not measured", f"chance is not defined for {cell}")
        verdicts.append(_compare(values, [(-1, cell)], factor * chance, positive))
    return _all(verdicts)


def _untrained(cell: str, values: Values) -> str:
    return f"untrained.{values.place(cell)[1]}"


def _collapsed(p: Predicate, values: Values) -> Verdict:
    """Below twice chance, or below the untrained encoder."""
    verdicts = []
    for cell in p.arguments:
        near = _near_chance(Predicate("near_chance", (cell,), p.options), values)
        below = _compare(values, [(-1, cell), (1, _untrained(cell, values))], 0, positive)
        verdicts.append(_any([near, below]))
    return _all(verdicts)


def _above_untrained(p: Predicate, values: Values) -> Verdict:
    return _all(
        [
            _compare(values, [(1, cell), (-1, _untrained(cell, values))], 0, positive)
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
            _compare(values, [(1, cell), (-0.5, other)], -chance / 2, positive)
            for other in values.column(cell)
            if values.get(other) is not None and values.place(other) != values.place(cell)
        ]
    return _all(verdicts)


def _within(p: Predicate, values: Values) -> Verdict:
    """All operands lie less than `tolerance` apart."""
    tolerance = float(p.options["tolerance"])
    cells = p.arguments
    pairs = [(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :]]
    return _all(
        [
            _compare(values, [(sign, a), (-sign, b)], tolerance, positive)
            for a, b in pairs
            for sign in (1.0, -1.0)
        ]
    )


def _argmax_inside(p: Predicate, values: Values) -> Verdict:
    """Neither the first nor the last of an ordered series is the best: one inside beats both."""
    first, *inside, last = p.arguments
    return _any(
        [
            _all([_compare(values, [(1, x), (-1, end)], 0, positive) for end in (first, last)])
            for x in inside
        ]
    )


def _less_sensitive(p: Predicate, values: Values) -> Verdict:
    """The drop from a to b, times `factor`, is smaller than every drop in `than`."""
    factor = float(p.options.get("factor", 1))
    a, b = p.arguments
    than = p.options["than"]
    drops = [than] if not isinstance(than[0], list) else than
    return _all(
        [
            _compare(values, [(1, c), (-1, d), (-factor, a), (factor, b)], 0, positive)
            for c, d in drops
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
    verdict = _compare(values, terms, 0, positive)
    slope = verdict.detail.rpartition(" = ")[2]  # the weights of single cells tell nobody much
    less = "" if than is None else f" - slope of {than}"
    return Verdict(verdict.outcome, f"slope of {column}{less} per doubling = {slope}")


def _slope(column: str, along: str, values: Values) -> list[tuple[float, Operand]]:
    """Least-squares weights of the measured cells of a column against log2 of a row's field."""
    points = [
        (math.log2(float(str(values.changes[row][along]))), f"{row}.{c}")
        for row, c in values.shown
        if c == column and along in values.changes[row] and (row, c) in values.cells
    ]
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
    "at_least": (_at_least, ("by", "factor")),
    "at_most": (_at_most, ("by", "factor")),
    "order": (_order, ()),
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
    "steeper": (_steeper, ("than", "along")),
    "is_missing": (_is_missing, ()),
    "all": (lambda p, values: _all([judge(q, values) for q in p.arguments]), ()),
    "any": (lambda p, values: _any([judge(q, values) for q in p.arguments]), ()),
}
REQUIRED = {"within": ("tolerance",), "less_sensitive": ("than",), "steeper": ("along",)}
PAIRS = ("greater", "less", "at_least", "at_most", "less_sensitive")
