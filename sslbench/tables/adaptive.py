"""A table whose seeds grow until its claims are decided: look by look, only where it is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sslbench.errors import UserError
from sslbench.files import exists
from sslbench.tables.cells import baselines
from sslbench.tables.judging import open_rows
from sslbench.tables.results import MeasuredTable, result_name
from sslbench.tables.sequential import Look, LookedAt, spent

if TYPE_CHECKING:
    from sslbench.tables.estimates import Looks
    from sslbench.tables.grid import Plan
    from sslbench.tables.schema import Table


class Asked(Protocol):
    """A table at some numbers of seeds, as `GridRequest` asks for it."""

    def plan(self) -> Plan:
        """The runs it takes."""

    def measure(self, looks: Looks | None = None) -> list[MeasuredTable]:
        """What has been run of it."""


@dataclass(frozen=True)
class Due:
    """A look that comes next: its `number` from 1 of `planned`, the runs that it takes, and the
    claims that ask for it (none at the first look, which is for all rows)."""

    table: str
    number: int
    planned: tuple[int, ...]
    undecided: tuple[str, ...]
    seeds: Mapping[str, int]  # of each row, and baseline, whose seeds it raises
    plan: Plan

    @property
    def name(self) -> str:
        """Such as "look 2 of 4 (5 seeds)"."""
        return f"look {self.number} of {len(self.planned)} ({self.planned[self.number - 1]} seeds)"


class Growing:
    """A table that is being decided. `due` says which runs the next look takes; when they are done
    `look` judges; until nothing is due.

    A look is taken whole or not at all, and all of it is a function of the runs that are there:
    who asks again after an interruption comes to the same looks, and trains what is lacking.
    """

    def __init__(
        self,
        table: Table,
        planned: Sequence[int],
        at: Callable[[int, Mapping[str, int]], Asked],
        *,
        dataset: str,
    ) -> None:
        """Looks at `planned` numbers of seeds; `at` asks for so many, with fewer for some rows.

        Raises:
            UserError: no claim of the table can be judged on that data set.
        """
        if not any(c.ours and c.dataset in ("", dataset) for c in table.claims):
            raise UserError(
                f"Table {table.id} has no claim that can be judged on {dataset}, so there is "
                "nothing to decide; give --seeds instead of --until-decided."
            )
        self.table, self.planned, self.at = table, tuple(planned), at
        self.dataset = dataset
        self.rows = [*(row.id for row in table.rows), *baselines(table)]
        self.seeds = dict.fromkeys(self.rows, self.planned[0])
        self.looks: tuple[Look, ...] = ()
        self.measured: MeasuredTable | None = None
        self._open: dict[str, frozenset[str]] = {}

    @property
    def undecided(self) -> tuple[str, ...]:
        """Ids of the claims that the last look left undecided."""
        return tuple(self._open)

    def due(self) -> Due | None:
        """The next look; None where no further seed could decide a claim, or the last look was
        taken."""
        number = len(self.looks)
        raised = frozenset[str]().union(*self._open.values()) if number else frozenset(self.rows)
        if number == len(self.planned) or not raised:
            return None
        self.seeds |= dict.fromkeys(raised, self.planned[number])
        plan = self._asked().plan()
        seeds = {row: self.seeds[row] for row in self.rows if row in raised}
        asking = tuple(name for name, rows in self._open.items() if rows)
        return Due(self.table.id, number + 1, self.planned, asking, seeds, plan)

    def look(self) -> MeasuredTable:
        """Judge the claims on what has been run of the look that is due."""
        looks = spent(self.planned)[: len(self.looks) + 1]
        [measured] = self._asked().measure(looks)
        self._open = open_rows(self.table, measured, looks)
        count, alpha = looks[-1]
        look = Look(
            seeds=int(count),
            alpha=alpha,
            undecided=self.undecided,
            claims=tuple(LookedAt(c.id, c.ours, c.detail) for c in measured.claims),
            minutes=measured.minutes,
        )
        self.looks = (*self.looks, look)
        self.measured = replace(measured, planned=self.planned, looks=self.looks)
        return self.measured

    def _asked(self) -> Asked:
        most = max(self.seeds.values())
        return self.at(most, {row: n for row, n in self.seeds.items() if n < most})


def require_same_plan(growing: Sequence[Growing], folder: Path, *, scale: str) -> None:
    """Whether tables that have been looked at go on by the plan that they began with.

    Args:
        folder: where results of this scale and device class lie.
    Raises:
        UserError: one has another plan; who plans anew after a look has spent more than the risk.
    """
    for one in growing:
        path = folder / result_name(one.table.id, scale=scale, dataset=one.dataset)
        if not exists(path):
            continue
        before = MeasuredTable.load(path).planned
        if before and before != one.planned:
            raise UserError(
                f"{path} was begun with looks at {_listed(before)} seeds, and this asks for looks "
                f"at {_listed(one.planned)}; planning anew after a look would hide how often was "
                f"looked. Go on with --seeds {before[0]} --max-seeds {before[-1]}, or keep the new "
                "plan's results elsewhere (--results)."
            )


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))


class Budget:
    """Minutes that may be used from now on, and what is left of them."""

    def __init__(self, minutes: float | None, clock: Callable[[], float]) -> None:
        """None is no limit; `clock` gives seconds. Raises UserError for no time at all."""
        if minutes is not None and minutes <= 0:
            raise UserError("The budget must be above 0 minutes.")
        self.minutes, self.clock, self.start = minutes, clock, clock()
        self.begun = False

    def refusal(self, due: Due, *, jobs: int) -> str:
        """Why a look is not taken, in a sentence; "" where there is time for it.

        Raises:
            UserError: it would be the first of all, so that nothing was measured.
        """
        needs, left = due.plan.seconds / jobs / 60, self._left()
        if needs <= left or not due.plan.todo:
            self.begun = True
            return ""
        sentence = (
            f"{due.table}: {due.name} takes about {needs:.1f} minutes, and of the budget "
            f"{max(left, 0):.1f} are left"
        )
        if not self.begun:
            raise UserError(f"{sentence}; give --budget-minutes more, or take fewer --seeds.")
        return f"{sentence}, so it was not begun."

    def _left(self) -> float:
        used = (self.clock() - self.start) / 60
        return math.inf if self.minutes is None else self.minutes - used


def decide(
    growing: Growing,
    *,
    budget: Budget,
    jobs: int,
    train: Callable[[Plan], list[str]],
    tell: Callable[[str], None],
    keep: Callable[[MeasuredTable], None],
) -> list[str]:
    """Take the looks that are due and that the budget allows.

    Args:
        train: runs a plan, and returns the sentences of its faults.
        tell: is told, in sentences, what comes next and how it ended.
        keep: is given the table after every look.
    Returns:
        The sentences of all faults.
    Raises:
        UserError: not even the first look fits the budget.
    """
    faults: list[str] = []
    while (due := growing.due()) is not None:
        if why := budget.refusal(due, jobs=jobs):
            tell(why)
            break
        if due.plan.todo:
            tell(f"{asked(due)}: {len(due.plan.todo)} runs.")
            faults = train(due.plan)
        keep(growing.look())
    if growing.looks:
        tell(ended(growing))
    return faults


def asked(due: Due) -> str:
    """A look that is due, and what asks for it: "t: look 2 of 4 (5 seeds) for c1, c2"."""
    why = f" for {', '.join(due.undecided)}" if due.undecided else ""
    return f"{due.table}: {due.name}{why}"


def ended(growing: Growing) -> str:
    """How the looks ended, in a sentence."""
    count = len(growing.undecided)
    last = growing.looks[-1]
    where = f"look {len(growing.looks)} of {len(growing.planned)} ({last.seeds} seeds)"
    if not count:
        return f"{growing.table.id}: no claim is undecided after {where}."
    names = ", ".join(growing.undecided)
    return f"{growing.table.id}: {count} undecided after {where}: {names}."
