"""Which trials go on past a rung: a plain rule over all values so far, the same for everybody.

Optuna's median pruner compares with trials that were finished, which are the better ones, and asks
while a trial trains. Here all trials of a batch reach the rung before any is judged, so that the
decision does not depend on how many run side by side; and it is compared with all that ever
reached the rung, so that about half of them go on.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence


def kept(
    values: Mapping[int, float | None], *, before: Sequence[float], protected: Collection[int]
) -> list[int]:
    """The numbers of the trials that go on, in order: those not below the median.

    Args:
        values: kNN in percent at the rung of the batch's trials by number; None where it diverged.
        before: the values of earlier batches' trials at the rung.
        protected: trials that always go on unless they diverged: where the study begins.
    """
    reached = [v for v in values.values() if v is not None]
    if not reached:
        return []
    middle = statistics.median([*before, *reached])
    return [n for n, v in values.items() if v is not None and (v >= middle or n in protected)]
