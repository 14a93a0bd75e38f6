from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from sslbench.errors import UserError
from sslbench.tables.claims import parse
from sslbench.tables.estimates import ONE_LOOK, RISK, Estimate, Looks, Values
from sslbench.tables.predicates import judge
from sslbench.tables.sequential import planned_looks, spent
from tests.tables.simulated import (
    CHANCE,
    NAIVE,
    PLANNED,
    SCENARIOS,
    collapses,
    decided,
    equal,
    false_rate,
    heavy,
    made_up,
    unequal,
)

TABLES = 8000
MOST = binom.ppf(0.999, TABLES, RISK) / TABLES  # a true rate of 5 % exceeds it once in a thousand
BOTH_WAYS = [name for name, scenario in SCENARIOS.items() if len(scenario.counts) == 2]


@pytest.mark.parametrize(
    ("first", "most", "looks"),
    [
        (3, 12, (3, 5, 8, 12)),
        (3, 8, (3, 5, 8)),
        (3, 3, (3,)),
        (3, 6, (3, 6)),  # 5 and 6 would be the same look twice
        (3, 4, (3, 4)),
        (2, 12, (2, 3, 5, 8, 12)),
        (5, 40, (5, 8, 12, 18, 27, 40)),
    ],
)
def test_looks_grow_by_half_up_to_the_last(first: int, most: int, looks: tuple[int, ...]) -> None:
    assert planned_looks(first, most) == looks


@pytest.mark.parametrize(
    ("first", "most", "sentence"),
    [(1, 12, "two seeds or more"), (5, 4, "--max-seeds 4 is below the first look's 5 seeds")],
)
def test_looks_that_decide_nothing_are_refused(first: int, most: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        planned_looks(first, most)


@pytest.mark.parametrize("most", [3, 4, 8, 12, 100])
def test_the_whole_risk_is_spent_and_no_more(most: int) -> None:
    assert math.fsum(risk for _, risk in spent(planned_looks(3, most))) == pytest.approx(RISK)


def test_one_planned_look_is_the_plain_interval() -> None:
    assert spent((5,)) == ((5, RISK),)


@pytest.mark.parametrize("looks", [PLANNED, spent(planned_looks(3, 8))], ids=["12", "8"])
@pytest.mark.parametrize("paired", [False, True], ids=["Welch", "pairs"])
@pytest.mark.parametrize("noise", [equal, unequal, heavy], ids=lambda n: n.__name__)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_claim_on_its_border_is_decided_in_one_of_twenty_tables_at_most(
    name: str, noise, paired: bool, looks: Looks
) -> None:
    rate = false_rate(SCENARIOS[name], noise, looks, tables=TABLES, paired=paired)
    assert rate <= MOST


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_plain_intervals_at_every_look_fail_the_same_test(name: str) -> None:
    assert false_rate(SCENARIOS[name], equal, NAIVE, tables=TABLES, naive=True) > MOST


def test_looks_that_are_planned_do_not_help_where_comparisons_are_not_counted() -> None:
    scenario = SCENARIOS["all of 5, all equal"]
    assert false_rate(scenario, equal, PLANNED, tables=TABLES, naive=True) > MOST


def test_seeds_that_rarely_collapse_are_beyond_every_interval_of_few() -> None:
    """Said in docs/tables.md: a mean that hangs on a tenth of the seeds is not seen by twelve."""
    assert false_rate(SCENARIOS["near chance, at twice chance"], collapses, tables=TABLES) > 0.3
    assert false_rate(SCENARIOS["single difference"], collapses, tables=TABLES) <= MOST


@pytest.mark.parametrize("looks", [PLANNED, ONE_LOOK], ids=["looks", "one look"])
@pytest.mark.parametrize("paired", [False, True], ids=["Welch", "pairs"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_simulation_is_of_what_judges_claims(name: str, paired: bool, looks: Looks) -> None:
    scenario = SCENARIOS[name]
    tables = made_up(scenario, unequal, tables=40, paired=paired)
    shape = (*tables.shape[:2], 1)
    tables += 4 * np.random.default_rng(1).standard_normal(shape)  # some are decided
    known = tuple((min(count, tables.shape[2]), risk) for count, risk in looks)
    expected = decided(scenario.asks, tables, known, paired=paired)
    numbers = {"held": 1, "not held": -1, "undecided": 0}
    asked = parse(scenario.asks, where="test")
    found = [numbers[judge(asked, values(table, paired, looks)).outcome] for table in tables]
    assert found == expected.tolist()
    assert len(set(found)) > 1


def values(table: np.ndarray, paired: bool, looks: Looks) -> Values:
    places = {(f"r{i}", "x"): Estimate.of(row.tolist(), points=True) for i, row in enumerate(table)}
    return Values(
        cells=places, first="x", chance={"x": CHANCE}, shown=tuple(places), alike=tuple(places),
        changes={row: {} for row, _ in places}, paired=paired, looks=looks,
    )  # fmt: skip
