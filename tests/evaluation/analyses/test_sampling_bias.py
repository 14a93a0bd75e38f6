from __future__ import annotations

import itertools
import math

import pytest
import torch

from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_sampling_bias
from sslbench.evaluation.analyses.sampling_bias import (
    any_false,
    estimates,
    false_share,
    log_debiased_mean,
    loss,
)

LABELS = (0, 0, 0, 1, 1, 2)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_expectations_equal_a_count_over_all_batches(size):
    """Every batch of six images, every anchor in it."""
    shares, met = [], []
    for batch in itertools.combinations(LABELS, size):
        for i in range(size):
            false = sum(batch[j] == batch[i] for j in range(size) if j != i)
            shares.append(false / (size - 1))
            met.append(false > 0)
    counts = torch.bincount(torch.tensor(LABELS))
    assert false_share(counts) == pytest.approx(sum(shares) / len(shares))
    assert any_false(counts, size) == pytest.approx(sum(met) / len(met))


def test_an_absent_class_changes_nothing():
    assert any_false(torch.tensor([3, 0, 3]), 3) == any_false(torch.tensor([3, 3]), 3)
    assert false_share(torch.tensor([3, 0, 3])) == false_share(torch.tensor([3, 3]))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_estimates_equal_a_loop(sphere, temperature):
    first, second, count = sphere(6, 4), sphere(6, 4, 1), 6
    priors = (0.1, 0.4)
    found = estimates(
        first, second, torch.tensor(LABELS), temperature=temperature, class_priors=priors
    )
    views = [*first, *second]
    for a in range(2 * count):

        def score(j: int, a: int = a) -> float:
            return math.exp(float(views[a] @ views[j]) / temperature)

        positive = score((a + count) % (2 * count))
        others = [j for j in range(2 * count) if j % count != a % count]
        true = [j for j in others if LABELS[j % count] != LABELS[a % count]]
        biased = sum(map(score, others)) / len(others)
        assert float(found.positive[a]) == pytest.approx(math.log(positive))
        assert float(found.biased[a]) == pytest.approx(math.log(biased))
        unbiased = sum(map(score, true)) / len(true)
        assert float(found.unbiased[a]) == pytest.approx(math.log(unbiased))
        assert float(found.false_share[a]) == pytest.approx(1 - len(true) / len(others))
        for p, prior in enumerate(priors):
            least = math.exp(-1 / temperature)
            expected = max((biased - prior * positive) / (1 - prior), least)
            assert float(found.debiased[p, a]) == pytest.approx(math.log(expected))
            assert bool(found.clamped[p, a]) == (expected == least)
        for term in (biased, unbiased):
            value = loss(found.positive[a], torch.tensor(math.log(term)), num_negatives=10)
            assert float(value) == pytest.approx(
                -math.log(positive / (positive + 10 * term)), rel=1e-5
            )


def test_an_anchor_without_true_negatives_has_no_unbiased_estimate(sphere):
    labels = torch.tensor([1, 1])
    found = estimates(sphere(2, 3), sphere(2, 3, 1), labels, temperature=0.1, class_priors=[0.1])
    assert bool(found.unbiased.isnan().all())
    assert found.false_share.tolist() == [1] * 4


@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 1.0])
def test_debiasing_stays_finite_and_above_its_floor(temperature):
    biased = torch.tensor([-1.0, 0.0, 0.9], dtype=torch.float64) / temperature
    for positive in (-1 / temperature, 1 / temperature):
        value = log_debiased_mean(
            biased,
            torch.full_like(biased, positive),
            class_prior=0.1,
            temperature=temperature,
        )
        assert bool(value.isfinite().all())
        assert float(value.min()) >= -1 / temperature


def test_a_vanishing_prior_is_the_biased_estimate():
    biased = torch.tensor([0.3, 1.2], dtype=torch.float64)
    value = log_debiased_mean(biased, torch.ones_like(biased), class_prior=1e-12, temperature=0.5)
    assert value.tolist() == pytest.approx(biased.tolist())


def test_a_run_gives_a_line_for_each_batch_size_and_prior(subject):
    result = analyze_sampling_bias(
        subject, space="projection", batch_sizes=[8, 32], class_priors=[0.2, 0.05]
    )
    lines = [(r["batch_size"], r["class_prior"]) for r in result.summary]
    assert lines == [(8, 0.05), (8, 0.2), (32, 0.05), (32, 0.2)]
    whole = result.summary[2]  # one batch of all images: measured is expected
    assert whole["false_percent"] == pytest.approx(whole["false_percent_expected"])
    assert whole["any_false_percent"] == pytest.approx(whole["any_false_percent_expected"])
    assert whole["any_false_percent_at_prior"] == pytest.approx(100 * (1 - 0.95**31))
    assert {p["group"] for p in result.points} == {"positive", "true negative", "false negative"}


def test_the_default_prior_is_the_share_that_the_labels_give(subject):
    (record,) = analyze_sampling_bias(subject, space="projection", batch_sizes=[16]).summary
    assert record["class_prior"] == false_share(torch.bincount(subject.test_labels))


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan")])
def test_a_prior_outside_zero_and_one_is_refused(subject, prior):
    with pytest.raises(UserError, match="between 0 and 1"):
        analyze_sampling_bias(subject, space="projection", batch_sizes=[8], class_priors=[prior])
