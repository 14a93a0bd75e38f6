"""Comparisons of a claim: cells and a threshold, judged, put into words, and folded to a verdict.

A claim of several comparisons has several chances to be wrong, and a table that is looked at
several times has several for each. The risk of a false "held" is therefore shared among the
comparisons of which one alone would make the claim held (the branches of "any"), that of a false
"not held" among those of which one would make it fail (the branches of "all"); each share is spent
over the planned looks. Where all must hold, each may take the whole risk of "held": all of them
would have to be wrong (Berger 1982, intersection-union tests).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sslbench.tables.estimates import (
    Contrast,
    Estimate,
    NotNegative,
    Outcome,
    Values,
    contrast,
    every,
    some,
)

Operand = str | float
Test = Callable[[Contrast], Outcome]
Place = tuple[str, str]


@dataclass(frozen=True)
class Chances:
    """Among how many comparisons the risk of a false "held", and of a false "not held", is
    shared."""

    held: float = 1.0
    failed: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """An outcome and the numbers that decided it.

    `open` are the cells whose further seeds could decide it where it is undecided, `chances` how
    many comparisons in it could alone make it held, and not held. `at` judges it again as a part of
    a larger claim, which leaves it a share of the risk.
    """

    outcome: Outcome
    detail: str = ""
    open: frozenset[Place] = frozenset()
    chances: Chances = Chances()
    again: Callable[[Chances], Verdict] | None = field(default=None, compare=False, repr=False)

    def at(self, chances: Chances) -> Verdict:
        """Judged with the risk shared so."""
        return self if self.again is None else self.again(chances)


def compare(
    values: Values,
    terms: list[tuple[float, Operand]],
    constant: float,
    test: Test,
    *,
    called: str = "",
) -> Verdict:
    """Test the weighted sum of operands plus a constant; `called` is what the sum is, in words."""
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
    noisy = frozenset(
        values.place(o) for (_, o), (_, e) in zip(named, estimates, strict=True) if not e.exact
    )

    def judged(chances: Chances) -> Verdict:
        c, outcome, count = _looked(values, estimates, constant, test, chances)
        detail = _shown(named, c, constant, test, outcome, called=called, count=count)
        return Verdict(outcome, detail, noisy if outcome == "undecided" else frozenset(),
                       again=judged)  # fmt: skip

    return judged(Chances())


def _looked(
    values: Values,
    estimates: list[tuple[float, Estimate]],
    constant: float,
    test: Test,
    chances: Chances,
) -> tuple[Contrast, Outcome, float]:
    """What the first look that decides it found, or the last look; and that look's seeds. Later
    seeds, which another claim may have asked for, do not reopen what was decided."""
    c, seeds = Contrast(math.nan, math.inf, math.inf, exact=False), math.inf
    outcome: Outcome = "undecided"
    for count, risk in values.looks:
        seen = [(w, e.first(count)) for w, e in estimates]
        known = [(w, e) for w, e in seen if e is not None]
        if len(known) < len(seen):
            continue
        tails = (risk / 2 / chances.held, risk / 2 / chances.failed)
        c = contrast(known, constant, paired=values.paired, tails=tails)
        outcome, seeds = test(c), count
        if outcome != "undecided":
            break
    return c, outcome, seeds


def _merged(values: Values, terms: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Each cell once: a baseline in two differences cancels, and its seeds must not count twice."""
    weights: dict[tuple[str, str], float] = {}
    names: dict[tuple[str, str], str] = {}
    for weight, name in terms:
        place = values.place(name)
        weights[place] = weights.get(place, 0.0) + weight
        names.setdefault(place, name)
    return [(weight, names[place]) for place, weight in weights.items() if weight]


def _shown(
    named: list[tuple[float, str]],
    c: Contrast,
    constant: float,
    test: Test,
    outcome: Outcome,
    *,
    called: str,
    count: float,
) -> str:
    """Such as "a - b = 1.2 ± 0.4, needs > 0", the first cell with a positive sign; a margin that
    is forgiven is said, and where there were several looks, the seeds of the one that counts."""
    sign = -1.0 if not called and named and named[0][0] < 0 else 1.0
    left = called or " ".join(_term(sign * w, o) for w, o in named).removeprefix("+ ")
    value = f"{sign * (c.value - constant):.4g}"
    if not c.exact:
        half = {"held": c.down, "not held": c.up}.get(outcome, max(c.down, c.up))
        value += f" ± {half:.3g}" if math.isfinite(half) else " ± ? (one seed)"
        value += f" ({count} seeds)" if math.isfinite(count) else ""
    strict, lenient = (">", "not below") if sign > 0 else ("<", "not above")
    needs, forgiven = strict, ""
    if isinstance(test, NotNegative):
        unit = (" point" if test.margin == 1 else " points") if c.points else ""
        needs, forgiven = lenient, f" by more than {test.margin:g}{unit}"
    return f"{left} = {value}, needs {needs} {-sign * constant + 0.0:.4g}{forgiven}"


def _term(weight: float, operand: str) -> str:
    size = "" if abs(weight) == 1 else f"{abs(weight):.3g} "
    return f"{'-' if weight < 0 else '+'} {size}{operand}"


def all_of(verdicts: list[Verdict]) -> Verdict:
    """All must hold; the details are those of the verdicts that decided it."""
    total = sum(v.chances.failed for v in verdicts)

    def judged(chances: Chances) -> Verdict:
        parts = [
            v.at(Chances(chances.held, chances.failed * total / v.chances.failed)) for v in verdicts
        ]
        most = max((v.chances.held for v in verdicts), default=1.0)
        return _fold(every, parts, Chances(most, total or 1.0), judged)

    return judged(Chances())


def any_of(verdicts: list[Verdict]) -> Verdict:
    """One must hold; the details are those of the verdicts that decided it."""
    total = sum(v.chances.held for v in verdicts)

    def judged(chances: Chances) -> Verdict:
        parts = [
            v.at(Chances(chances.held * total / v.chances.held, chances.failed)) for v in verdicts
        ]
        most = max((v.chances.failed for v in verdicts), default=1.0)
        return _fold(some, parts, Chances(total or 1.0, most), judged)

    return judged(Chances())


def _fold(
    rule: Callable[[list[Outcome]], Outcome],
    parts: list[Verdict],
    chances: Chances,
    again: Callable[[Chances], Verdict],
) -> Verdict:
    outcome = rule([v.outcome for v in parts])
    details = dict.fromkeys(v.detail for v in parts if v.outcome == outcome and v.detail)
    shown = "; ".join(list(details)[:4]) + ("; …" if len(details) > 4 else "")
    left = [v.open for v in parts if outcome == v.outcome == "undecided"]
    return Verdict(outcome, shown, frozenset[Place]().union(*left), chances, again)
