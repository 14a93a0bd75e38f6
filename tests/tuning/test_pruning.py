"""Who goes on past a rung."""

from __future__ import annotations

import pytest

from sslbench.errors import UserError
from sslbench.tuning.budget import Budget
from sslbench.tuning.pruning import kept


@pytest.mark.parametrize(
    ("values", "before", "protected", "going"),
    [
        ({0: 10.0, 1: 20.0, 2: 30.0, 3: 40.0}, [], {0}, [0, 2, 3]),
        ({0: 10.0, 1: 20.0, 2: 30.0, 3: 40.0}, [], set(), [2, 3]),
        ({8: 10.0, 9: 20.0}, [50.0, 60.0, 70.0], {0}, []),
        ({8: 10.0, 9: 55.0}, [50.0, 60.0, 5.0], {0}, [9]),
        ({0: 5.0, 1: 5.0}, [], set(), [0, 1]),
        ({0: None, 1: 20.0}, [], {0}, [1]),
        ({0: None, 1: None}, [30.0], {0}, []),
        ({4: 7.0}, [], set(), [4]),
    ],
)
def test_those_below_the_median_of_all_that_reached_it_are_stopped(
    values: dict[int, float | None], before: list[float], protected: set[int], going: list[int]
) -> None:
    assert kept(values, before=before, protected=protected) == going


def test_the_order_in_which_values_come_changes_nothing() -> None:
    values = {0: 30.0, 1: 10.0, 2: 20.0}
    backwards = dict(reversed(values.items()))
    assert kept(values, before=[15.0], protected=set()) == sorted(
        kept(backwards, before=[15.0], protected=set())
    )


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, ()), (2, (1,)), (4, (1, 2)), (6, (2, 3)), (12, (3, 6)), (24, (6, 12)), (100, (25, 50))],
)
def test_rungs_are_whole_epochs_that_the_monitor_looks_at_before_the_end(
    epochs: int, rungs: tuple[int, ...]
) -> None:
    assert Budget().epochs(epochs) == rungs


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="--trials must be 1 to"):
        Budget(trials=0)
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        Budget(seeds=0)
