"""Estimates with their uncertainty, and three-valued comparisons decided by intervals."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Outcome = Literal["held", "not held", "undecided", "not measured"]
LEAST = 0.3  # a smaller difference of percentages never counts, however narrow the interval


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds: `variance` is the mean's (s² / n), infinite for one seed.

    `points` marks percentages and points, whose differences need at least LEAST. A number without
    uncertainty (a published value, a constant, chance) has variance 0 and dof infinite.
    """

    mean: float
    variance: float = 0.0
    dof: float = math.inf
    points: bool = False

    @classmethod
    def of(cls, values: Sequence[float], *, constant: bool = False, points: bool) -> Estimate:
        """From the values of n >= 1 seeds; `constant` says that one value is exact."""
        n = len(values)
        mean = math.fsum(values) / n
        if constant:
            return cls(mean, points=points)
        if n < 2:
            return cls(mean, math.inf, 1.0, points)  # one seed says nothing of the spread
        variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n
        return cls(mean, variance, n - 1.0, points)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of estimates plus a constant: `value` ± `half` (95 %, Welch).

    `exact` says that no term has uncertainty, so that the value alone decides; `points` marks a
    contrast of percentages or points.
    """

    value: float
    half: float
    exact: bool
    points: bool = False

    def __str__(self) -> str:
        if self.exact:
            return f"{self.value:.4g}"
        half = f"{self.half:.3g}" if math.isfinite(self.half) else "? (one seed)"
        return f"{self.value:.4g} ± {half}"


def contrast(terms: Iterable[tuple[float, Estimate]], constant: float = 0.0) -> Contrast:
    """The weighted sum with its interval (Welch's)."""
    terms = list(terms)
    value = math.fsum(c * e.mean for c, e in terms) + constant
    noisy = [(c * c * e.variance, e.dof) for c, e in terms if e.dof < math.inf]
    if not noisy:
        return Contrast(value, 0.0, exact=True)
    in_points = any(e.points and e.dof < math.inf for _, e in terms)
    floor = LEAST if in_points else 0.0
    variance, dof = welch(noisy)
    if not math.isfinite(variance):
        return Contrast(value, math.inf, exact=False, points=in_points)
    half = t_quantile(dof) * math.sqrt(variance) if variance > 0 else 0.0
    # Two or three seeds may agree by chance, and their interval is then too narrow.
    return Contrast(value, max(half, floor), exact=False, points=in_points)


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
def t_quantile(dof: float) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, dof))


def positive(c: Contrast) -> Outcome:
    """Is the contrast above 0? Undecided while its interval holds 0."""
    if c.exact:
        # 1e-9: sums of printed decimals, such as 0.3 - 0.1 - 0.2, are not exactly 0.
        return "held" if c.value > 1e-9 else "not held"
    if c.value > c.half:
        return "held"
    return "not held" if c.value < -c.half else "undecided"


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
    dotted changes; `missing` the cells without a finite value (not printed, or diverged).
    """

    cells: Mapping[tuple[str, str], Estimate]
    first: str
    chance: Mapping[str, float]
    shown: tuple[tuple[str, str], ...]
    alike: tuple[tuple[str, str], ...]
    changes: Mapping[str, Mapping[str, object]]
    missing: frozenset[tuple[str, str]] = frozenset()

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
