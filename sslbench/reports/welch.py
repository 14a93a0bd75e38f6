"""One-sided Welch test from summary statistics, with a rule for every degenerate case."""

from __future__ import annotations

import math
from dataclasses import dataclass

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

    Source: Welch 1947, "The generalization of Student's problem".
    """
    drop = reference.mean - measured.mean
    sides = (reference, measured)
    known = [s.variance for s in sides if s.variance is not None]
    if not known:
        return None
    spread = [
        (s, known[0] if s.variance is None else s.variance, s.variance is not None) for s in sides
    ]
    parts = [0.0 if s.exact else variance / s.n for s, variance, _ in spread]
    error = math.sqrt(sum(parts))
    if error == 0:
        return 0.0 if drop > 0 else 1.0
    if None in (reference.variance, measured.variance):
        freedom = float(sum(s.n - 1 for s in sides if s.variance is not None))
    else:
        terms = [part**2 / (s.n - 1) for s, part in zip(sides, parts, strict=True) if part]
        freedom = sum(parts) ** 2 / sum(terms)
    from scipy.stats import t

    return float(t.sf(drop / error, freedom))
