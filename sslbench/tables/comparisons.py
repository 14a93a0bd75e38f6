"""One comparison of a claim: cells and a threshold, judged and put into words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Verdict:
    """An outcome and the numbers that decided it."""

    outcome: Outcome
    detail: str = ""


def compare(
    values: Values, terms: list[tuple[float, Operand]], constant: float, test: Test
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


def _shown(named: list[tuple[float, str]], c: Contrast, constant: float, test: Test) -> str:
    """Such as "a - b = 1.2 ± 0.4, needs > 0", the first cell with a positive sign; a margin that
    is forgiven is said."""
    sign = -1.0 if named and named[0][0] < 0 else 1.0
    left = " ".join(_term(sign * w, o) for w, o in named).removeprefix("+ ")
    value = Contrast(sign * (c.value - constant), c.half, c.exact)
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
    return _fold(every, verdicts)


def any_of(verdicts: list[Verdict]) -> Verdict:
    """One must hold; the details are those of the verdicts that decided it."""
    return _fold(some, verdicts)


def _fold(rule: Callable[[list[Outcome]], Outcome], verdicts: list[Verdict]) -> Verdict:
    outcome = rule([v.outcome for v in verdicts])
    details = dict.fromkeys(v.detail for v in verdicts if v.outcome == outcome and v.detail)
    return Verdict(outcome, "; ".join(list(details)[:4]) + ("; …" if len(details) > 4 else ""))
