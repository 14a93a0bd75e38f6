from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy import stats

from sslbench.reports.welch import Sample, p_drop
from sslbench.tables.results import Cell

OLD = [60.1, 61.0, 60.4, 59.7, 60.6]
NEW = [58.9, 59.9, 58.2, 59.4]


def test_two_samples_give_scipys_p(make_cell: Callable[..., Cell]) -> None:
    ours = p_drop(Sample.of(make_cell(OLD)), Sample.of(make_cell(NEW)))
    reference = stats.ttest_ind(OLD, NEW, equal_var=False, alternative="greater")
    assert ours == pytest.approx(reference.pvalue)


def test_one_side_without_variance_still_has_the_others(make_cell: Callable[..., Cell]) -> None:
    flat = [59.0] * 4
    ours = p_drop(Sample.of(make_cell(OLD)), Sample.of(make_cell(flat)))
    old = stats.describe(OLD)
    reference = stats.ttest_ind_from_stats(
        old.mean, old.variance**0.5, 5, 59.0, 0.0, 4, equal_var=False, alternative="greater"
    )
    assert ours == pytest.approx(reference.pvalue)


def test_an_exact_reference_makes_it_a_one_sample_test(make_cell: Callable[..., Cell]) -> None:
    exact = Sample.of(make_cell([60.0], constant=True))
    reference = stats.ttest_1samp(NEW, 60.0, alternative="less")
    assert p_drop(exact, Sample.of(make_cell(NEW))) == pytest.approx(reference.pvalue)


def test_no_variance_at_all_leaves_no_doubt() -> None:
    assert p_drop(Sample(10.0, 0.0, 5), Sample(9.9, 0.0, 5)) == 0
    assert p_drop(Sample(10.0, 0.0, 5), Sample(10.0, 0.0, 5)) == 1


def test_a_single_seed_is_judged_by_the_other_sides_spread(make_cell: Callable[..., Cell]) -> None:
    old = Sample.of(make_cell(OLD))
    near, far = (p_drop(old, Sample.of(make_cell([v]))) for v in (60.0, 55.0))
    assert near is not None
    assert far is not None
    pooled = stats.ttest_ind(OLD, [55.0], equal_var=True, alternative="greater")
    assert far == pytest.approx(pooled.pvalue)
    assert far < 0.01 < near


def test_a_single_seed_on_both_sides_decides_nothing(make_cell: Callable[..., Cell]) -> None:
    assert p_drop(Sample.of(make_cell([60.0])), Sample.of(make_cell([1.0]))) is None
