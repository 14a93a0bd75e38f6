"""How often claims are decided wrongly where nothing is there to decide: a simulation of the looks.

A plain second version of the rule, vectorised over made-up tables. `python -m
tests.tables.simulated` prints the rates that docs/tables.md quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from sslbench.tables.estimates import LEAST, Looks
from sslbench.tables.sequential import planned_looks, spent

TABLES = 20_000
SEEDS = 12
CHANCE = 10.0
NAIVE: Looks = tuple((count, 0.05) for count in planned_looks())  # 95 % at every look
PLANNED = spent(planned_looks())
Decided = np.ndarray[Any, np.dtype[np.int64]]  # 1 held, -1 not held, 0 undecided; one a table


@dataclass(frozen=True)
class Scenario:
    """A claim (`asks`, over rows r0, r1, ...), and the rows' true means where it is on its border:
    every decision there, or one in the `counts` direction, is false."""

    asks: Mapping[str, Any]
    means: Sequence[float]
    counts: tuple[int, ...] = (1, -1)


FAR = 40.0
FIVE = [f"r{i}" for i in range(1, 6)]
SCENARIOS: dict[str, Scenario] = {
    "single difference": Scenario({"greater": ["r0", "r1"]}, [50, 50]),
    "all of 5, all equal": Scenario({"greater": [FIVE, "r0"]}, [50] * 6),
    "all of 5, one equal": Scenario({"greater": [FIVE, "r0"]}, [50, 50, *[50 + FAR] * 4], (1,)),
    "any of 3, all equal": Scenario({"any": [{"greater": [r, "r0"]} for r in FIVE[:3]]}, [50] * 4),
    "any of 3, one equal": Scenario(
        {"any": [{"greater": [r, "r0"]} for r in FIVE[:3]]}, [50, 50, 10, 10], (-1,)
    ),
    "best of 5, all equal": Scenario({"best": ["r0"]}, [50] * 5),
    "best of 5, one rival": Scenario({"best": ["r0"]}, [50, 50, 10, 10, 10], (1,)),
    "increasing of 4, flat": Scenario({"increasing": ["r0", "r1", "r2", "r3"]}, [50] * 4),
    "increasing of 4, one step flat": Scenario(
        {"increasing": ["r0", "r1", "r2", "r3"]}, [10, 50, 50, 90], (1,)
    ),
    "near chance, at twice chance": Scenario({"near_chance": ["r0"], "factor": 2}, [2 * CHANCE]),
    "not below, at the margin": Scenario({"not_below": ["r0", "r1"], "margin": 1}, [49, 50]),
}

Noise = Callable[[np.random.Generator, tuple[int, int, int]], np.ndarray]
SPREADS = np.array([3.0, 0.3, 6.0, 1.0, 2.0, 0.6])


def equal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal, 2 points."""
    return 2 * rng.standard_normal(shape)


def unequal(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal, 0.3 to 6 points by row."""
    return SPREADS[: shape[1], None] * rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Student's t with 3 degrees of freedom, 2 points."""
    return 2 * rng.standard_t(3, shape) / np.sqrt(3)


def collapses(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Normal, 1 point, but every tenth seed collapses: 20 points lower; of mean 0."""
    return rng.standard_normal(shape) - 20 * (rng.random(shape) < 0.1) + 2


NOISES: dict[str, Noise] = {n.__name__: n for n in (equal, unequal, heavy, collapses)}


def made_up(
    scenario: Scenario, noise: Noise, *, tables: int = TABLES, paired: bool = False, seed: int = 0
) -> np.ndarray:
    """Values, tables×rows×SEEDS; `paired` adds what a seed has in common in all rows."""
    rng = np.random.default_rng(seed)
    shape = (tables, len(scenario.means), SEEDS)
    common = 4 * rng.standard_normal((tables, 1, SEEDS)) if paired else 0.0
    return np.array(scenario.means, dtype=float)[:, None] + common + noise(rng, shape)


def decided(
    asks: Mapping[str, Any], values: np.ndarray, looks: Looks, *, paired: bool, naive: bool = False
) -> Decided:
    """What became of the claim in each table; `naive` shares no risk among its comparisons."""
    return _folded(_tree(asks), values, looks, paired, naive, (1.0, 1.0))


Tree = tuple[str, list[Any]]


def _tree(asks: Mapping[str, Any]) -> Tree:
    """A claim as "all" and "any" of comparisons (weights by row, constant)."""
    if "any" in asks:
        return "any", [_tree(part) for part in asks["any"]]
    if "best" in asks:
        return "all", [("is", [{0: 1.0, i: -1.0}, 0.0]) for i in range(1, 5)]
    if "increasing" in asks:
        return "all", [("is", [{i + 1: 1.0, i: -1.0}, 0.0]) for i in range(3)]
    if "near_chance" in asks:
        return "is", [{0: -1.0}, asks["factor"] * CHANCE]
    left, right = asks.get("greater") or asks["not_below"]
    rows = [int(name[1:]) for name in (left if isinstance(left, list) else [left])]
    margin = float(asks.get("margin", 0.0))
    return "all", [("is", [{row: 1.0, int(right[1:]): -1.0}, margin]) for row in rows]


def _leaves(tree: Tree, kind: str) -> int:
    """How many comparisons share the risk that nodes of this kind divide."""
    name, parts = tree
    if name == "is":
        return 1
    counts = [_leaves(part, kind) for part in parts]
    return sum(counts) if name == kind else max(counts)


def _folded(
    tree: Tree, values: np.ndarray, looks: Looks, paired: bool, naive: bool,
    share: tuple[float, float],
) -> Decided:  # fmt: skip
    name, parts = tree
    if name == "is":
        return _compared(*parts, values, looks, paired, (1.0, 1.0) if naive else share)
    up, down = share
    found = []
    for part in parts:
        more = _leaves(tree, name) / _leaves(part, name)
        inner = (up, down * more) if name == "all" else (up * more, down)
        found.append(_folded(part, values, looks, paired, naive, inner))
    return np.min(found, axis=0) if name == "all" else np.max(found, axis=0)


def _compared(
    weights: Mapping[int, float], constant: float, values: np.ndarray, looks: Looks, paired: bool,
    share: tuple[float, float],
) -> Decided:  # fmt: skip
    rows = list(weights)
    signs = np.array([weights[row] for row in rows])
    outcome = np.zeros(len(values), dtype=np.int64)
    for count, risk in looks:
        n = int(count)
        terms = signs[:, None] * values[:, rows, :n]
        total = terms.sum(axis=1)
        mean = total.mean(axis=1) + constant
        if paired:
            variance, dof = total.var(axis=1, ddof=1) / n, n - 1.0
        else:
            parts = terms.var(axis=2, ddof=1) / n
            variance = parts.sum(axis=1)
            dof = variance**2 / (parts**2 / (n - 1)).sum(axis=1)
        below = stdtr(dof, -mean / np.sqrt(variance))  # chance of a mean so high, or higher
        held = (below < risk / 2 / share[0]) & (mean > LEAST)
        failed = (1 - below < risk / 2 / share[1]) & (mean < -LEAST)
        outcome = np.where(outcome != 0, outcome, held.astype(int) - failed.astype(int))
    return outcome


def false_rate(
    scenario: Scenario, noise: Noise, looks: Looks = PLANNED, *, tables: int = TABLES,
    paired: bool = False, naive: bool = False,
) -> float:  # fmt: skip
    """Share of made-up tables in which the claim is decided, which is false."""
    values = made_up(scenario, noise, tables=tables, paired=paired)
    outcome = decided(scenario.asks, values, looks, paired=paired, naive=naive)
    return float(np.isin(outcome, scenario.counts).mean())


def main() -> None:
    """Print the rates."""
    print(f"{'claim':32}{'noise':11}{'Welch':>7}{'pairs':>7}{'naive':>7}")
    for name, scenario in SCENARIOS.items():
        for kind, noise in NOISES.items():
            rates = [
                false_rate(scenario, noise),
                false_rate(scenario, noise, paired=True),
                false_rate(scenario, noise, NAIVE, naive=True),
            ]
            print(f"{name:32}{kind:11}" + "".join(f"{100 * rate:7.2f}" for rate in rates))


if __name__ == "__main__":
    main()
