"""A recipe that is another's with few fields changed begins at the other's study.

It takes over where the parent was after the first part of the budget, and searches its own
dimensions, and the learning rate, with the rest: the trials behind its settings are as many as the
parent's, or any other recipe's.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from sslbench.engine.folder import NUMERICS
from sslbench.errors import UserError
from sslbench.recipes.spaces import RATE, Inherits, Space
from sslbench.tuning.definition import Definition, start_of, whole_space
from sslbench.tuning.record import Parent, Record, Trial


def inherited(own: Definition, how: Inherits, record: Record | None) -> Definition:
    """The study of a recipe that has a parent.

    Args:
        own: its study as if it had none.
        record: the parent's study; None where it is not run yet, to see what would be done.
    Raises:
        UserError: the parent's study is of other fixed changes or too short, or has no trial that
            was finished in time.
    """
    parent = whole_space(
        how.parent, start_of(how.parent, scale=own.scale, data=own.data, fixed=own.fixed), own.fixed
    )
    names = own_dimensions(own.whole, parent, how.own)
    share = own.budget.own if names else own.budget.rate
    trials = min(own.budget.trials, max(2, math.ceil(share * own.budget.trials)))
    taken = own.budget.trials - trials
    best = None if record is None or taken == 0 else _best(own, record, taken)
    shared = {d.name for d in own.whole} - set(names)
    return replace(
        own,
        space=own.whole.only({RATE, *names}),
        base={name: value for name, value in best.point.items() if name in shared} if best else {},
        num_trials=trials,
        parent=Parent(
            recipe=how.parent,
            digest=record.digest if record else "",
            trials=taken,
            trial=best.number if best else 0,
            own=tuple(names),
            minutes=round(sum(t.minutes for t in record.trials[:taken]), 1) if record else 0.0,
        ),
    )


def own_dimensions(whole: Space, parent: Space, named: Collection[str]) -> list[str]:
    """What a recipe searches itself: dimensions that its parent has not, or has from another
    present value, and those that are named."""
    known = {d.name: d.default for d in parent}
    return [d.name for d in whole if d.name in named or known.get(d.name) != d.default]


def _best(own: Definition, record: Record, taken: int) -> Trial:
    if (record.fingerprint, record.numerics) != (own.fingerprint, NUMERICS):
        raise UserError(
            f"The study of {record.recipe}, at which {own.recipe} begins, was on other images or "
            "of an earlier version's numerics; run it again."
        )
    if dict(record.fixed) != dict(own.fixed):
        raise UserError(
            f"The study of {record.recipe}, at which {own.recipe} begins, had other --set changes; "
            "run both with the same ones."
        )
    if len(record.trials) < taken:
        raise UserError(
            f"{own.recipe} begins after the first {taken} trials of {record.recipe}'s study, which "
            f"has {len(record.trials)}; run both with the same --trials."
        )
    best = max(record.trials[:taken], key=lambda t: (*t.rank, -t.number))
    if best.state != "finished":
        raise UserError(
            f"None of the first {taken} trials of {record.recipe}'s study was finished, so there "
            f"is nothing for {own.recipe} to begin at; give more --trials."
        )
    return best
