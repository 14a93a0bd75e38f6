"""One-sided Welch test from summary statistics, with a rule for every degenerate case."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sslbench.tables.estimates import welch
from sslbench.tables.results import Cell


@dataclass(frozen=True)
class Sample:
    """Seeds of one cell: mean, sample variance and count. `exact` marks a value without
    randomness, whose single run is the whole population."""

    mean: float
    variance: float | None
    n: int
    exact: bool = False

    @classmethod
    def of(cls, cell: Cell) -> Sample:
        """A cell with at least one finite value."""
        assert cell.mean is not None and cell.n
        if cell.constant:
            return cls(cell.mean, 0.0, cell.n, exact=True)
        variance = None if cell.std is None else cell.std**2
        return cls(cell.mean, variance, cell.n)


def p_drop(reference: Sample, measured: Sample) -> float | None:
    """P-value of "measured is not below the reference", or None when no spread is known.

    Both sides with two seeds or more: Welch's unequal-variance t-test. One side with a single
    seed: that seed is taken to spread like the other side's (a t-test of one new observation).
    A single seed on both sides: no spread is known, None. No variance at all: 0 for any drop,
    else 1.
    """
    drop = reference.mean - measured.mean
    known = [s for s in (reference, measured) if s.variance is not None]
    if not known:
        return None
    if len(known) == 2:
        variance, freedom = welch([(s.variance / s.n, s.n - 1.0) for s in known if s.variance])
    else:
        spread = known[0].variance or 0.0
        variance, freedom = spread / reference.n + spread / measured.n, known[0].n - 1.0
    if variance == 0:
        return 0.0 if drop > 0 else 1.0
    from scipy.stats import t

    return float(t.sf(drop / math.sqrt(variance), freedom))
