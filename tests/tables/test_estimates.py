from __future__ import annotations

import itertools
import math

import pytest
from scipy import stats

from sslbench.tables.estimates import (
    LEAST,
    Estimate,
    NotNegative,
    Outcome,
    contrast,
    every,
    positive,
    some,
)

A = (71.0, 72.5, 70.9, 71.7)
B = (68.0, 69.9, 69.1)


def test_interval_of_a_difference_is_welchs() -> None:
    c = contrast([(1, Estimate.of(A, points=True)), (-1, Estimate.of(B, points=True))])
    expected = stats.ttest_ind(A, B, equal_var=False).confidence_interval(0.95)
    assert c.value - c.down == pytest.approx(expected.low)
    assert c.value + c.up == pytest.approx(expected.high)


def test_a_difference_of_points_counts_from_the_least_on() -> None:
    same, near = Estimate.of((50.0, 50.0), points=True), Estimate.of((50.2, 50.2), points=True)
    far = Estimate.of((50.4, 50.4), points=True)
    c = contrast([(1, near), (-1, same)])
    assert c.down == c.up == LEAST
    assert positive(contrast([(1, near), (-1, same)])) == "undecided"
    assert positive(contrast([(1, far), (-1, same)])) == "held"


def test_other_units_have_no_least_difference() -> None:
    std = Estimate.of((0.02, 0.021), points=False)
    assert positive(contrast([(-1, std)], 0.1)) == "held"


def test_one_seed_decides_nothing() -> None:
    c = contrast([(1, Estimate.of((90.0,), points=True))], -10)
    assert math.isinf(c.down) and math.isinf(c.up)
    assert positive(c) == "undecided" and NotNegative(1.0)(c) == "undecided"


def test_a_constant_is_exact_and_others_still_have_their_interval() -> None:
    pixels = Estimate.of((30.0,), constant=True, points=True)
    assert positive(contrast([(1, pixels)], -29.9)) == "held"
    assert positive(contrast([(1, Estimate.of(A, points=True)), (-1, pixels)])) == "held"


def test_exact_values_are_compared_as_printed() -> None:
    assert positive(contrast([(1, Estimate(70.01)), (-1, Estimate(70.0))])) == "held"
    assert positive(contrast([(1, Estimate(70.0)), (-1, Estimate(70.0))])) == "not held"
    tenth_lower = contrast([(1, Estimate(69.9)), (-1, Estimate(70.0))])
    assert NotNegative(0.1)(tenth_lower) == "held"  # the margin itself is forgiven
    assert NotNegative(0.09)(tenth_lower) == "not held"


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ((51.0, 51.2), "held"),  # above
        ((49.8, 49.9), "held"),  # below by less than the margin, surely
        ((40.0, 58.0), "undecided"),  # below by nobody knows how much
        ((44.0, 62.0), "undecided"),  # above, and perhaps far below
        ((48.9, 49.0), "undecided"),  # below by about the margin
        ((45.0, 45.1), "not held"),  # below by more
    ],
)
def test_a_margin_is_settled_by_what_the_interval_excludes(
    values: tuple[float, ...], outcome: Outcome
) -> None:
    c = contrast([(1, Estimate.of(values, points=True))], -50.0)
    assert NotNegative(1.0)(c) == outcome


def test_a_margin_is_in_the_unit_of_the_column() -> None:
    uniformity = Estimate.of((1.30, 1.32), points=False)
    below = contrast([(1, uniformity)], -1.4)
    assert NotNegative(0.3)(below) == "held"
    assert NotNegative(0.09)(below) == "undecided"


OUTCOMES: tuple[Outcome, ...] = ("held", "not held", "undecided", "not measured")


@pytest.mark.parametrize(("a", "b"), [*itertools.product(OUTCOMES, OUTCOMES)])
def test_and_or_are_kleenes(a: Outcome, b: Outcome) -> None:
    assert (every([a, b]) == "held") == (a == b == "held")
    assert (every([a, b]) == "not held") == ("not held" in (a, b))
    assert (some([a, b]) == "held") == ("held" in (a, b))
    assert (some([a, b]) == "not held") == (a == b == "not held")
