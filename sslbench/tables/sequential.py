"""Looks at a table as its seeds come in: when, and how much of the risk each of them may spend.

Whoever looks at growing data several times, and stops at the first verdict, is wrong more often
than each look's interval says. Here the looks are planned beforehand, and the risk of a false
verdict is spent over them in proportion to the seeds that each adds: the linear spending function
of Lan and DeMets 1983 (Biometrika 70), of the power family of Kim and DeMets 1987. Each look
takes the quantile of Student's t at its own share, so that the sum of the shares bounds the risk
whatever the dependence of the looks (Bonferroni). A boundary that uses their dependence gains a
fifth of the risk at most where seeds are pairs; that slack covers what Welch's approximation lacks
at few seeds of unequal spread. `tests/tables/test_sequential.py` simulates it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sslbench.errors import UserError
from sslbench.tables.estimates import RISK, Looks, Outcome

FIRST = 3  # seeds of the first look
MOST = 12  # seeds of the last one
GROWTH = 1.5  # of the seeds from look to look
LAST_STEP = 1.25  # a look is left out where the last one has hardly more seeds


def planned_looks(first: int | None = None, most: int | None = None) -> tuple[int, ...]:
    """How many seeds each look has: 3, 5, 8, 12.

    Args:
        first: of the first look (None: FIRST).
        most: of the last one (None: MOST).
    Raises:
        UserError: a first look of one seed, which says nothing of the spread, or of more than
            `most`.
    """
    first = FIRST if first is None else first
    most = MOST if most is None else most
    if first < 2:
        raise UserError(
            "--until-decided needs two seeds or more at its first look (--seeds): one says nothing "
            "of the spread."
        )
    if most < first:
        raise UserError(
            f"--max-seeds {most} is below the first look's {first} seeds; give --max-seeds {first} "
            "or more."
        )
    counts, count = [], first
    while count < most:
        counts.append(count)
        count = math.ceil(GROWTH * count)
    if len(counts) > 1 and most < LAST_STEP * counts[-1]:
        counts.pop()
    return (*counts, most)


def spent(planned: Sequence[int]) -> Looks:
    """The planned looks, each as its seeds and the risk of a false verdict that it may spend."""
    steps = [planned[0], *(after - before for before, after in pairwise(planned))]
    return tuple((n, RISK * step / planned[-1]) for n, step in zip(planned, steps, strict=True))


@dataclass(frozen=True)
class LookedAt:
    """What a look made of a claim."""

    id: str
    ours: Outcome
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at a table: at how many `seeds`, with which share of the risk (`alpha`), the claims as
    they stood, ids of those `undecided`, and the minutes of the table's runs so far."""

    seeds: int
    alpha: float
    undecided: tuple[str, ...]
    claims: tuple[LookedAt, ...]
    minutes: float


def require_planned(planned: Sequence[int], looks: Sequence[Look]) -> None:
    """Raise UserError unless looks that were read from a file are those of their plan."""
    if any(after <= before for before, after in pairwise((1, *planned))):
        raise UserError(f"planned: {list(planned)} are no growing numbers of seeds, from 2")
    if tuple(look.seeds for look in looks) != tuple(planned[: len(looks)]):
        raise UserError("looks: they are not those that were planned")
