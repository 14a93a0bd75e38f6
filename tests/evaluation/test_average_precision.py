"""Average precision: by hand, with equal scores, and beside scikit-learn's."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import average_precision_score

from sslbench.evaluation.average_precision import average_precision


def test_by_hand() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    positive = torch.tensor([True, False, False, True, True, False])
    # Precision 1, 1/2, 1/3, 2/4, 3/5, 3/6; recall moves at images 1, 4 and 5.
    plain = (1 + 2 / 4 + 3 / 5) / 3
    assert average_precision(scores, positive, interpolated=False) == pytest.approx(plain)
    envelope = (1 + 3 / 5 + 3 / 5) / 3  # at recall 2/3 the best precision from there on is 3/5
    assert average_precision(scores, positive, interpolated=True) == pytest.approx(envelope)


def test_a_constant_score_has_the_share_of_positives() -> None:
    positive = torch.tensor([True, False, False, True, False])
    for interpolated in (False, True):
        found = average_precision(torch.zeros(5), positive, interpolated=interpolated)
        assert found == pytest.approx(0.4)


@pytest.mark.parametrize("levels", [5, 1000])
def test_without_interpolation_it_is_scikit_learns_also_with_equal_scores(levels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores = torch.randint(0, levels, (60,), generator=generator).double()
        positive = torch.rand(60, generator=generator) < 0.3
        expected = average_precision_score(positive.numpy(), scores.numpy())
        found = average_precision(scores, positive, interpolated=False)
        assert found == pytest.approx(expected, abs=1e-12)
        order = torch.randperm(60, generator=generator)
        again = average_precision(scores[order], positive[order], interpolated=False)
        assert again == pytest.approx(found, abs=1e-12)
        assert average_precision(scores, positive, interpolated=True) >= found - 1e-12


def test_interpolated_it_is_the_envelope_of_the_voc_kit() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        scores = torch.randn(40, generator=generator)
        positive = torch.rand(40, generator=generator) < 0.3
        hits, points = 0, [(0.0, 0.0)]
        for seen, row in enumerate(scores.argsort(descending=True).tolist(), start=1):
            hits += bool(positive[row])
            points.append((hits / int(positive.sum()), hits / seen))
        points.append((1.0, 0.0))
        recall, precision = (list(x) for x in zip(*points, strict=True))
        for i in range(len(precision) - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        expected = sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
        found = average_precision(scores, positive, interpolated=True)
        assert found == pytest.approx(expected, abs=1e-12)
