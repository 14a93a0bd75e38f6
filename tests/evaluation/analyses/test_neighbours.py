from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_neighbours, merge


def test_neighbours_are_those_of_a_loop(subject):
    result = analyze_neighbours(subject, k=3, index=[5, 0])
    train, test = (F.normalize(x.double(), dim=1) for x in vars(subject.features).values())
    assert [p["query"] for p in result.points] == ["shapes test 5"] * 3 + ["shapes test 0"] * 3
    for query, points in ((5, result.points[:3]), (0, result.points[3:])):
        cosines = [float(test[query] @ row) for row in train]
        order = sorted(range(len(cosines)), key=lambda i: -cosines[i])[:3]
        assert [p["picture"] for p in points] == [f"shapes train {i}" for i in order]
        assert [p["cosine"] for p in points] == pytest.approx(sorted(cosines)[:-4:-1], abs=1e-5)
        for point, image in zip(points, order, strict=True):
            same = subject.train_labels[image] == subject.test_labels[query]
            assert point["same_class"] == bool(same)
            picture = result.pictures[point["picture"]]
            assert torch.equal(picture, subject.dataset.train.images[image])


def test_shares_are_over_all_test_images(subject):
    few, many = (analyze_neighbours(subject, k=4, queries=n).summary[0] for n in (1, 8))
    assert few == many
    assert few["queries"] == 32
    assert 0 < few["same_class_percent"] < 100


def test_runs_are_seen_on_the_same_images(subject):
    a, b = (analyze_neighbours(subject, seed=1) for _ in range(2))
    assert [p["query"] for p in a.points] == [p["query"] for p in b.points]
    assert merge([a, b]).pictures.keys() == a.pictures.keys()
    other = analyze_neighbours(subject, seed=2)
    assert [p["query"] for p in a.points] != [p["query"] for p in other.points]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 97}, "--neighbours 97: needs 1 to 96"),
        ({"queries": 33}, "needs 1 to 32"),
        ({"index": [32]}, "--index 32: the test images are 0 to 31"),
    ],
)
def test_what_there_is_not_is_refused(subject, options, words):
    with pytest.raises(UserError, match=words):
        analyze_neighbours(subject, **options)
