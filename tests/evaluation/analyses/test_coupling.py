from __future__ import annotations

import math
import statistics

import pytest

from sslbench.evaluation.analyses import analyze_coupling
from sslbench.evaluation.analyses.coupling import coefficient_of_variation, multiplier


def loop(first, second, temperature):
    """Proposition 1, term by term."""
    out = []
    count = len(first)
    for own, other in ((first, second), (second, first)):
        for i in range(count):
            positive = math.exp(float(own[i] @ other[i]) / temperature)
            total = positive
            for j in range(count):
                if j != i:
                    total += math.exp(float(own[i] @ own[j]) / temperature)
                    total += math.exp(float(own[i] @ other[j]) / temperature)
            out.append(1 - positive / total)
    return out


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_multiplier_equals_a_loop(sphere, temperature):
    first, second = sphere(7, 4), sphere(7, 4, 1)
    expected = loop(first, second, temperature)
    assert multiplier(first, second, temperature=temperature).tolist() == pytest.approx(expected)


def test_it_is_the_factor_of_the_gradient_of_info_nce(sphere):
    """The gradient of an anchor's loss over that of its decoupled form (Proposition 1)."""
    first, second = sphere(4, 3), sphere(4, 3, 1)
    q = multiplier(first, second, temperature=0.2)
    anchor = first[0].clone().requires_grad_()
    views = [v for j, v in enumerate([*first, *second]) if j % 4 != 0]
    positive = (anchor @ second[0]) / 0.2
    negative = sum(((anchor @ v) / 0.2).exp() for v in views).log()
    coupled = -positive + (positive.exp() + negative.exp()).log()
    coupled.backward(retain_graph=True)
    whole, anchor.grad = anchor.grad, None
    (-positive + negative).backward()
    assert whole.tolist() == pytest.approx((q[0] * anchor.grad).tolist())


def test_extreme_temperatures_give_no_nan(sphere):
    q = multiplier(sphere(5, 3), sphere(5, 3, 1), temperature=1e-4)
    assert bool(((q >= 0) & (q <= 1)).all())


def test_the_coefficient_of_variation_is_std_over_mean(sphere):
    q = multiplier(sphere(9, 3), sphere(9, 3, 1), temperature=0.3)
    expected = statistics.pstdev(q.tolist()) / statistics.mean(q.tolist())
    assert coefficient_of_variation(q) == pytest.approx(expected)


def test_larger_batches_are_less_coupled(subject):
    result = analyze_coupling(subject, batch_sizes=[4, 8, 32])
    assert [r["batch_size"] for r in result.summary] == [4, 8, 32]
    assert [r["anchors"] for r in result.summary] == [64, 64, 64]
    means = [r["mean"] for r in result.summary]
    assert means == sorted(means)
    assert result.summary[-1]["variation"] < result.summary[0]["variation"]
    assert {p["batch_size"] for p in result.points} == {4, 8, 32}
