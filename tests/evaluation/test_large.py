"""Features of a streamed set, and probes that read them part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sslbench.data import load
from sslbench.errors import UserError
from sslbench.evaluation import knn as neighbors
from sslbench.evaluation import large
from sslbench.evaluation.features import Features, extract, read_features
from sslbench.evaluation.knn import knn, nearest
from sslbench.evaluation.linear import linear
from sslbench.evaluation.protocols import KNN, PROTOCOLS, Linear
from tests.data.streaming.conftest import spec_of, write_set

FIELDS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def make(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of three classes that overlap, N×6, with some rows twice."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    x = torch.randn(count, 6, generator=draw) + nn.functional.one_hot(labels, 6)
    x[1::10] = x[::10]
    return x, labels


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on features of more than 40 rows of 6 are large, and few are copied as a whole."""

    def begin() -> None:
        monkeypatch.setattr(large, "LARGE", 40 * 6 * 4)
        monkeypatch.setattr(neighbors, "_COPY", 0)

    return begin


def test_the_nearest_by_parts_are_the_nearest_of_all(parts: Callable[[], None]) -> None:
    (x, labels), (queries, _) = make(300, seed=0), make(50, seed=1)
    whole = nearest(x, labels, queries, k=30)
    exact = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(x, dim=1).T
    parts()
    for train in (x, large.Rows(x, torch.arange(300))):
        found = nearest(train, labels, queries, k=30)
        assert torch.equal(found.similarities, whole.similarities)
        assert (found.classes == whole.classes).float().mean() > 0.99  # but for ties at the end
        assert torch.allclose(found.similarities, exact.sort(dim=1, descending=True)[0][:, :30])


def test_probes_of_large_features_score_as_those_of_small_ones(parts: Callable[[], None]) -> None:
    (x, labels), (test, test_labels) = make(300, seed=0), make(90, seed=1)
    more = {"heldout": torch.arange(0, 300, 10), "num_classes": 3}

    def scores() -> list[dict[str, float]]:
        probe, neighbours = PROTOCOLS["linear.features.v1"], PROTOCOLS["knn.v1"]
        assert isinstance(probe, Linear) and isinstance(neighbours, KNN)
        args = (Features(x, test), labels, test_labels)
        found = [knn(*args, protocol=neighbours, **more), linear(*args, protocol=probe, **more)]
        return [{**o.values, **o.chosen, **o.heldout} for o in found]

    whole = scores()
    parts()
    assert scores() == whole


def test_streamed_features_are_those_of_the_images(tmp_path: Path) -> None:
    dataset = load(spec_of(write_set(tmp_path / "set")), root=tmp_path)
    encoder = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path = tmp_path / "features" / "a.safetensors"
    large.write_encoded(path, encoder, dataset, key="k", advice="", **FIELDS)
    found, expected = read_features(path, key="k"), extract(encoder, dataset, **FIELDS)
    assert found is not None and read_features(path, key="other") is None
    assert torch.equal(found.train, expected.train) and torch.equal(found.test, expected.test)


def test_streamed_features_that_are_not_finite_leave_no_file(tmp_path: Path) -> None:
    dataset = load(spec_of(write_set(tmp_path / "set")), root=tmp_path)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    nn.init.constant_(encoder[1].weight, torch.inf)
    with pytest.raises(UserError, match="not finite; look"):
        large.write_encoded(tmp_path / "a.safetensors", encoder, dataset, key="k", advice="look",
                            **FIELDS)  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
