"""Estimates with their uncertainty, and three-valued comparisons decided by intervals."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Outcome = Literal["held", "not held", "undecided", "not measured"]
Looks = tuple[tuple[float, float], ...]  # seeds at each look, and the risk that it spends
RISK = 0.05  # of a false verdict: half of it each of a false "held" and a false "not held"
ONE_LOOK: Looks = ((math.inf, RISK),)
LEAST = 0.3  # a smaller difference of percentages never counts, however narrow the interval


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds: `variance` is the mean's (s² / n), infinite for one seed.

    `points` marks percentages and points, whose differences need at least LEAST; `seeds` are the
    values by seed. A number without uncertainty (a published value, a constant, chance) has
    variance 0, dof infinite and no seeds.
    """

    mean: float
    variance: float = 0.0
    dof: float = math.inf
    points: bool = False
    seeds: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        *,
        constant: bool = False,
        points: bool,
        numbers: Sequence[int] | None = None,
    ) -> Estimate:
        """From the values of n >= 1 seeds; `constant` says that one value is exact, `numbers` which
        seeds they are (None: 0, 1, ...)."""
        n = len(values)
        mean = math.fsum(values) / n
        if constant:
            return cls(mean, points=points)
        seeds = tuple(zip(range(n) if numbers is None else numbers, values, strict=True))
        if n < 2:
            return cls(mean, math.inf, 1.0, points, seeds)  # one seed says nothing of the spread
        variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n
        return cls(mean, variance, n - 1.0, points, seeds)

    @property
    def exact(self) -> bool:
        """Whether it has no uncertainty."""
        return self.dof == math.inf

    def first(self, count: float) -> Estimate | None:
        """From the seeds below `count` alone; None where none of them has a value."""
        kept = [pair for pair in self.seeds if pair[0] < count]
        if self.exact or len(kept) == len(self.seeds):
            return self
        return self._of_pairs(kept) if kept else None

    def among(self, seeds: Iterable[int]) -> Estimate:
        """From these of its seeds alone."""
        return self._of_pairs([(number, dict(self.seeds)[number]) for number in seeds])

    def _of_pairs(self, pairs: Sequence[tuple[int, float]]) -> Estimate:
        numbers, values = zip(*pairs, strict=True)
        return Estimate.of(values, points=self.points, numbers=numbers)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of estimates plus a constant: `value`, and how far its interval reaches below
    it (`down`, which decides "held") and above it (`up`, which decides "not held").

    `exact` says that no term has uncertainty, so that the value alone decides; `points` marks a
    contrast of percentages or points.
    """

    value: float
    down: float
    up: float
    exact: bool
    points: bool = False


def contrast(
    terms: Iterable[tuple[float, Estimate]],
    constant: float = 0.0,
    *,
    paired: bool = False,
    tails: tuple[float, float] = (RISK / 2, RISK / 2),
) -> Contrast:
    """The weighted sum with its interval.

    Args:
        paired: seeds are pairs: the interval is that of the sum's own values, seed by seed, over
            the seeds that all terms have. Otherwise the terms are independent (Welch).
        tails: chance that the true value lies below the interval, and above it.
    """
    terms = list(terms)
    noisy = [(c, e) for c, e in terms if not e.exact]
    value = math.fsum(c * e.mean for c, e in terms) + constant
    if not noisy:
        return Contrast(value, 0.0, 0.0, exact=True)
    in_points = any(e.points for _, e in noisy)
    floor = LEAST if in_points else 0.0
    if paired and len(noisy) > 1:
        fixed = math.fsum(c * e.mean for c, e in terms if e.exact) + constant
        noisy = _by_seed(noisy)
        value = math.fsum(c * e.mean for c, e in noisy) + fixed
    variance, dof = welch([(c * c * e.variance, e.dof) for c, e in noisy])
    if not math.isfinite(variance):
        return Contrast(value, math.inf, math.inf, exact=False, points=in_points)
    error = math.sqrt(variance)
    # Two or three seeds may agree by chance, and their interval is then too narrow.
    down, up = (max(t_quantile(dof, tail) * error if error else 0.0, floor) for tail in tails)
    return Contrast(value, down, up, exact=False, points=in_points)


def _by_seed(terms: Sequence[tuple[float, Estimate]]) -> list[tuple[float, Estimate]]:
    """The weighted sum as one estimate, over the seeds that all terms have; the terms with one seed
    each, which has no spread, where they share none."""
    values = [dict(e.seeds) for _, e in terms]
    shared = [seed for seed in values[0] if all(seed in v for v in values)]
    if not shared:
        return [(c, e.among([e.seeds[0][0]])) for c, e in terms]
    sums = [
        math.fsum(c * v[seed] for (c, _), v in zip(terms, values, strict=True)) for seed in shared
    ]
    return [(1.0, Estimate.of(sums, points=terms[0][1].points))]


def welch(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Variance and degrees of freedom of a sum of independent means.

    Args:
        parts: variance and degrees of freedom of each mean.
    Returns:
        Degrees of freedom are NaN where the variance is 0 or infinite.
    Source: Welch 1947, "The generalization of Student's problem"; Satterthwaite 1946.
    """
    variance = math.fsum(v for v, _ in parts)
    if variance == 0 or not math.isfinite(variance):
        return variance, math.nan
    return variance, variance**2 / math.fsum(v**2 / d for v, d in parts)


@functools.lru_cache(maxsize=4096)  # a table of thousands of rows has few numbers of seeds
def t_quantile(dof: float, tail: float = 0.025) -> float:
    """Student's t that is exceeded with the chance `tail`; of a 95 % interval by default."""
    from scipy.stats import t

    return float(t.isf(tail, dof))


def positive(c: Contrast) -> Outcome:
    """Is the contrast above 0? Undecided while its interval holds 0."""
    if c.exact:
        # 1e-9: sums of printed decimals, such as 0.3 - 0.1 - 0.2, are not exactly 0.
        return "held" if c.value > 1e-9 else "not held"
    if c.value > c.down:
        return "held"
    return "not held" if c.value < -c.up else "undecided"


@dataclass(frozen=True)
class NotNegative:
    """Is the contrast not below 0 by more than the margin? Held when its interval excludes a
    greater loss, not held when every value in it is one."""

    margin: float

    def __call__(self, c: Contrast) -> Outcome:
        forgiven = replace(c, value=c.value + self.margin)
        if c.exact and abs(forgiven.value) <= 1e-9:  # the margin itself is forgiven
            return "held"
        return positive(forgiven)


_WORST_FIRST: tuple[Outcome, ...] = ("not held", "not measured", "undecided", "held")
_BEST_FIRST: tuple[Outcome, ...] = ("held", "not measured", "undecided", "not held")


def every(outcomes: Iterable[Outcome]) -> Outcome:
    """Kleene's "and": one failure fails, otherwise what is not known stays so."""
    present = set(outcomes)
    return next((o for o in _WORST_FIRST if o in present), "held")


def some(outcomes: Iterable[Outcome]) -> Outcome:
    """Kleene's "or"."""
    present = set(outcomes)
    return next((o for o in _BEST_FIRST if o in present), "not held")


@dataclass(frozen=True)
class Values:
    """What claims are judged on: estimates by (row, column), in table order.

    `first` is the column that a bare row name means; `chance` the chance accuracy in percent by
    column (absent where it is not defined); `shown` the cells of the table itself (no baselines,
    no derived columns), `alike` those of the first column's metric and data; `changes` the rows'
    dotted changes; `missing` the cells without a finite value (not printed, or diverged). `paired`
    says that rows share what a seed draws, so that a comparison goes seed by seed; `looks` at how
    many seeds a claim was looked at, in order, each with the risk of a false verdict spent there.
    """

    cells: Mapping[tuple[str, str], Estimate]
    first: str
    chance: Mapping[str, float]
    shown: tuple[tuple[str, str], ...]
    alike: tuple[tuple[str, str], ...]
    changes: Mapping[str, Mapping[str, object]]
    missing: frozenset[tuple[str, str]] = frozenset()
    paired: bool = False
    looks: Looks = ONE_LOOK

    def place(self, operand: str) -> tuple[str, str]:
        """(row, column) of "row" or "row.column"; ids may contain dots."""
        if operand in self.changes:
            return operand, self.first
        row, _, column = operand.rpartition(".")
        return row, column

    def get(self, operand: str | float) -> Estimate | None:
        """The estimate of a cell or a constant; None when it is not measured."""
        if isinstance(operand, str):
            return self.cells.get(self.place(operand))
        return Estimate(float(operand))

    def column(self, operand: str) -> list[str]:
        """Operands of all table rows in the same column."""
        _, column = self.place(operand)
        return [f"{r}.{c}" for r, c in self.shown if c == column]
