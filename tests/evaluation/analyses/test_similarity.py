from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslbench.evaluation.analyses import analyze_similarity, similarity
from sslbench.evaluation.analyses.analysis import embeddings, pairs, rows_of
from sslbench.evaluation.analyses.similarity import nearest_negatives
from sslbench.evaluation.geometry import tolerance


@pytest.mark.parametrize("at_a_time", [1, 50, 2**22])
def test_nearest_negatives_equal_a_loop(sphere, monkeypatch, at_a_time):
    monkeypatch.setattr(similarity, "PAIRS", at_a_time)
    first, second = sphere(12, 4), sphere(12, 4, 1)
    positive, nearest, found, mean = nearest_negatives(first, second, nearest=3)
    everything = []
    for i in range(12):
        cosines = {j: float(first[i] @ second[j]) for j in range(12) if j != i}
        everything += cosines.values()
        best = sorted(cosines, key=lambda j: -cosines[j])[:3]
        assert found[i].tolist() == best
        assert nearest[i].tolist() == pytest.approx([cosines[j] for j in best])
        assert float(positive[i]) == pytest.approx(float(first[i] @ second[i]))
    assert mean == pytest.approx(sum(everything) / len(everything))


@pytest.mark.parametrize("space", ["representation", "projection"])
def test_a_run_gives_the_mean_of_each_series_and_its_distribution(subject, space):
    result = analyze_similarity(subject, space=space)
    (summary,) = result.summary
    rows = rows_of(subject)
    first, second = pairs(subject, rows, space=space)
    assert summary["positive"] == pytest.approx(float((first * second).sum(1).mean()), rel=1e-5)
    cosines = (first @ second.T).fill_diagonal_(-2)
    labels = subject.test_labels[rows]
    top = cosines.topk(10, dim=1)
    assert summary["n1"] == pytest.approx(float(top.values[:, 0].mean()), rel=1e-5)
    assert summary["n10"] == pytest.approx(float(top.values[:, 9].mean()), rel=1e-5)
    same = (labels[top.indices] == labels[:, None]).double().mean()
    assert summary["nearest_same_class_percent"] == pytest.approx(100 * float(same))
    z = F.normalize(embeddings(subject, rows, space=space), dim=1)
    assert summary["tolerance"] == tolerance(z, labels)
    assert {p["series"] for p in result.points} == {"pos", *(f"n{i}" for i in range(1, 11))}
    for name in ("pos", "n1"):
        series = [p for p in result.points if p["series"] == name]
        width = series[1]["cosine"] - series[0]["cosine"]
        assert sum(p["density"] for p in series) * width == pytest.approx(1)


def test_the_same_run_gives_the_same_numbers(subject):
    once, again = (analyze_similarity(subject, space="projection") for _ in range(2))
    assert once == again
    assert torch.is_grad_enabled()
