"""Rank correlation over the rows of a table: whether two things that were measured go together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from sslbench.tables.comparisons import Chances, Verdict
from sslbench.tables.estimates import RISK, Estimate, Values
from sslbench.tables.predicate import Predicate

if TYPE_CHECKING:
    import numpy as np

LEAST_ROWS = 5  # Fisher's z has n - 3 degrees of freedom
DRAWS = 500  # of the seeds' noise


def correlated(p: Predicate, values: Values) -> Verdict:
    """Spearman's coefficient of a column with a weighted sum of others, over all rows of the table
    in which they are measured, lies above a number.

    Its 95 % interval takes the rows for a sample of all encoders (Fisher's z; Bonett and Wright
    2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations"), and
    adds what the seeds' noise does to the coefficient: cells are drawn anew, each by its own
    Student's t. Noise draws a coefficient towards 0, so that it speaks against the claim. Rows of
    equal values in all columns are the same run, and count once. Further seeds are asked for only
    where their noise is what leaves it undecided: of the rows there are no more.
    """

    def judged(chances: Chances) -> Verdict:
        verdict = Verdict("undecided")
        for count, risk in values.looks:
            cells = {place: e.first(count) for place, e in values.cells.items()}
            seen = replace(values, cells={place: e for place, e in cells.items() if e})
            tails = (risk / 2 / chances.held, risk / 2 / chances.failed)
            verdict = _looked(p, seen, tails)
            if verdict.outcome in ("held", "not held"):
                break
        return replace(verdict, again=judged)

    return judged(Chances())


def _looked(p: Predicate, values: Values, tails: tuple[float, float]) -> Verdict:
    (column,), weights, above = p.arguments, p.options["with"], float(p.options["above"])
    columns = [column, *weights]
    rows = _rows(values, columns)
    named = f"rank correlation of {column} with {_sum(weights)}"
    if len(rows) < LEAST_ROWS:
        return Verdict("not measured", f"{named}: {len(rows)} rows, needs {LEAST_ROWS}")
    factors = [float(w) for w in weights.values()]
    means = [[e.mean for e in row] for row in rows]
    found = float(_spearman(_sides([means], factors))[0])
    if math.isnan(found):
        return Verdict("not measured", f"{named}: all rows are alike")
    low, high = interval(found, len(rows), noise=_noise(rows, factors, found), tails=tails)
    shown = f"{low:.2f} to {high:.2f}" if high - low < 2 else "? (one seed)"
    shown = f"{100 * (1 - sum(tails)):.4g} % {shown}, over {len(rows)} rows"
    detail = f"{named} = {found:.2f}, {shown}, needs > {above:g}"
    if low > above:
        return Verdict("held", detail)
    if high < above:
        return Verdict("not held", detail)
    low, high = interval(found, len(rows), tails=tails)
    places = {(row, c) for row, c in values.shown if c in columns and (row, c) in values.cells}
    noisy = {place for place in places if not values.cells[place].exact}
    return Verdict("undecided", detail, frozenset() if low <= above <= high else frozenset(noisy))


def interval(
    coefficient: float,
    rows: int,
    *,
    noise: float = 0.0,
    tails: tuple[float, float] = (RISK / 2, RISK / 2),
) -> tuple[float, float]:
    """The interval of Spearman's coefficient; 95 % by default.

    Args:
        coefficient: of that many rows, at least LEAST_ROWS.
        noise: by how much its Fisher's z may be off by other causes than the choice of rows.
        tails: chance that the true coefficient lies below the interval, and above it.
    """
    z = _z(coefficient, rows)
    error = math.hypot(math.sqrt((1 + coefficient**2 / 2) / (rows - 3)), noise)
    down, up = (NormalDist().inv_cdf(1 - tail) * error for tail in tails)
    return math.tanh(z - down), math.tanh(z + up)


def _z(coefficients: Any, rows: int) -> Any:
    """Fisher's, of at most half a step below rows in perfect order, where it is infinite."""
    import numpy as np

    most = 1 - 6 / (rows * (rows**2 - 1))
    return np.arctanh(np.clip(coefficients, -most, most))


def _rows(values: Values, columns: Sequence[str]) -> list[tuple[Estimate, ...]]:
    """The estimates of each row in which all columns are measured, each run once."""
    names = dict.fromkeys(row for row, _ in values.shown)
    found = [tuple(values.cells.get((row, c)) for c in columns) for row in names]
    return list(dict.fromkeys(tuple(e for e in row if e) for row in found if all(row)))


def _noise(rows: Sequence[tuple[Estimate, ...]], factors: Sequence[float], found: float) -> float:
    """How far z lies from the one found when all cells are drawn anew: the root of the mean square
    over draws, infinite where a cell has a single seed."""
    import numpy as np
    from scipy.stats import t

    parts = np.array([[(e.mean, math.sqrt(e.variance), e.dof) for e in row] for row in rows])
    mean, spread, dof = np.moveaxis(parts, -1, 0)  # rows×columns each
    if not spread.any() or not np.isfinite(spread).all():
        return float(spread.max())
    # Not of sslbench.streams, which needs torch; the same draws at every call.
    shares = np.random.default_rng(0).uniform(1e-4, 1 - 1e-4, size=(DRAWS, *mean.shape))
    cells = mean + spread * t.ppf(shares, np.minimum(dof, 1e6))
    off = _z(_spearman(_sides(cells, factors)), len(rows)) - _z(found, len(rows))
    return float(np.sqrt((off**2).mean()))


def _sides(cells: Any, factors: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The column, and the weighted sum of the others: draws×rows each, of draws×rows×columns."""
    import numpy as np

    array = np.asarray(cells, dtype=float)
    return array[..., 0], array[..., 1:] @ np.asarray(factors)


def _spearman(sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Of each draw; ties have their mean rank. NaN where a side is constant."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = [rankdata(side, axis=1) for side in sides]
    x, y = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (x * y).sum(axis=1) / size
    return found


def _sum(weights: Mapping[str, float]) -> str:
    """Such as "- alignment - 0.5 uniformity"."""
    terms = [
        f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w):g} '}{name}"
        for name, w in weights.items()
    ]
    return " ".join(terms).removeprefix("+ ")
