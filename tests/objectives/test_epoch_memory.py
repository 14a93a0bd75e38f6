from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.objectives.epoch_memory import EpochMemory, spherical_k_means
from sslbench.recipes.specs import EpochSinkhorn, KMeans
from tests.reference import clustering as reference
from tests.reference.processes import run_processes

M, D, H, K = 40, 6, 3, 4


def rows(count: int, *, seed: int) -> Tensor:
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def filled(*, places: Tensor | None = None) -> EpochMemory:
    memory = EpochMemory(M, D, heads=H)
    places = torch.arange(M) if places is None else places
    memory.update(places, [rows(M, seed=1)[places], rows(M, seed=2)[places]])
    return memory


def prototypes() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return F.normalize(torch.randn(H, K, D, generator=generator), dim=2)


def test_keeps_unit_embeddings_of_both_views_where_the_images_are() -> None:
    memory = EpochMemory(M, D, heads=H)
    first, second = rows(2, seed=1), rows(2, seed=2)
    memory.update(torch.tensor([5, 3]), [first, second])
    assert_close(memory.embeddings[0, [5, 3]], F.normalize(first, dim=1))
    assert_close(memory.embeddings[1, [5, 3]], F.normalize(second, dim=1))
    assert int((memory.embeddings != 0).any(dim=2).sum()) == 4


def test_an_update_leaves_the_assignments_of_the_epoch() -> None:
    memory = filled()
    memory.cluster(KMeans(iterations=3), prototypes(), epoch=0, seed=0)
    before = memory.assignments.clone()
    memory.update(torch.arange(M), [rows(M, seed=5), rows(M, seed=6)])
    assert torch.equal(memory.assignments, before)


def test_each_head_takes_the_nearest_centroids_of_its_view() -> None:
    memory = filled()
    centroids = memory.cluster(KMeans(), prototypes(), epoch=2, seed=0)
    for head in range(H):
        scores = memory.embeddings[head % 2] @ centroids[head].T
        assert torch.equal(memory.assignments[:, head], scores.argmax(1))
    assert int(memory.epoch) == 2


@pytest.mark.parametrize("chunk", [7, 4096])
def test_each_head_rounds_the_codes_of_its_view(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslbench.objectives.epoch_memory._CHUNK", chunk)
    memory, weights = filled(), prototypes()
    assert torch.equal(memory.cluster(EpochSinkhorn(), weights, epoch=2, seed=0), weights)
    for head in range(H):
        scores = memory.embeddings[head % 2] @ weights[head].T
        codes = reference.sinkhorn(scores.double(), 0.05, 3)
        assert torch.equal(memory.assignments[:, head], codes.argmax(1))
    assert int(memory.epoch) == 2


def test_k_means_ends_at_a_fixed_point_of_unit_centroids() -> None:
    points = F.normalize(rows(60, seed=0), dim=1)
    centroids = spherical_k_means(points, 5, iterations=100, key=1)
    assert_close(centroids.norm(dim=1), torch.ones(5))
    step = reference.spherical_k_means_step(points.double(), centroids.double())
    assert_close(step.float(), centroids, atol=1e-5, rtol=0)


def test_k_means_finds_clusters_that_are_there() -> None:
    centres = torch.eye(D)[:K]
    points = F.normalize(centres.repeat(20, 1) + 0.05 * rows(20 * K, seed=0), dim=1)
    centroids = spherical_k_means(points, K, iterations=20, key=3)
    assert sorted((points @ centroids.T).argmax(1).bincount().tolist()) == [20] * K


def test_k_means_repeats_with_its_key_and_differs_with_another() -> None:
    points = F.normalize(rows(60, seed=0), dim=1)
    first, again, other = (spherical_k_means(points, 9, iterations=2, key=k) for k in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_k_means_leaves_the_number_of_threads(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    spherical_k_means(F.normalize(rows(10, seed=0), dim=1), 9, iterations=2, key=1)
    assert torch.get_num_threads() == before
    assert capfd.readouterr() == ("", "")  # faiss's warning of few points is off


def test_k_means_of_as_many_points_as_clusters_keeps_the_points() -> None:
    points = F.normalize(rows(5, seed=0), dim=1)
    centroids = spherical_k_means(points, 5, iterations=2, key=1)
    assert sorted((points @ centroids.T).argmax(1).tolist()) == list(range(5))


def test_heads_of_one_view_start_k_means_differently() -> None:
    memory = filled()
    centroids = memory.cluster(KMeans(iterations=1), prototypes(), epoch=0, seed=0)
    assert not torch.equal(centroids[0], centroids[2])


def test_a_saved_memory_continues() -> None:
    memory, copy = filled(), EpochMemory(M, D, heads=H)
    memory.cluster(KMeans(iterations=3), prototypes(), epoch=0, seed=0)
    copy.load_state_dict(memory.state_dict())
    pair = [m.cluster(KMeans(), prototypes(), epoch=1, seed=0) for m in (memory, copy)]
    assert torch.equal(*pair)
    assert torch.equal(memory.assignments, copy.assignments)


def clusters_of_this_process() -> dict[str, Tensor]:
    count = M // world_size()
    memory = filled(places=torch.arange(rank() * count, (rank() + 1) * count))
    centroids = memory.cluster(KMeans(iterations=5), prototypes(), epoch=0, seed=0)
    by_k_means = memory.assignments.clone()
    memory.cluster(EpochSinkhorn(), prototypes(), epoch=1, seed=0)
    return {
        "embeddings": memory.embeddings,
        "centroids": centroids,
        "k-means": by_k_means,
        "sinkhorn": memory.assignments,
    }


def test_two_processes_have_the_memory_and_the_clusters_of_one(tmp_path: Path) -> None:
    both: list[dict[str, Any]] = run_processes(clusters_of_this_process, folder=tmp_path)
    for name, expected in clusters_of_this_process().items():
        assert_close(both[0][name], expected)
        assert torch.equal(both[0][name], both[1][name])
