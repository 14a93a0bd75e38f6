"""Codes of a batch (SwAV) and clusters of an epoch (DeepCluster-v2, SeLa-v2) as targets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.recipes.specs import ClusterAssignment, EpochSinkhorn, KMeans, Sinkhorn
from tests.reference import clustering as reference
from tests.reference.embeddings import assert_same, compute
from tests.reference.processes import run_processes

N, H, K = 6, 3, 4
CLUSTERS = torch.tensor([[0, 1, 2], [3, 3, 3], [1, 0, 2], [0, 0, 0], [2, 1, 0], [1, 1, 3]])


def scores(views: int, *, heads: int = H, seed: int = 0) -> list[Tensor]:
    """Cosines N×H×K of each view, float64, that carry gradients."""
    generator = torch.Generator().manual_seed(seed)
    rows = 2 * torch.rand(views, N, heads, K, generator=generator, dtype=torch.float64) - 1
    return [view.requires_grad_() for view in rows]


@pytest.mark.parametrize("views", [2, 5])
@pytest.mark.parametrize("iterations", [1, 3])
def test_swapped_prediction_is_the_papers(views: int, iterations: int) -> None:
    z = scores(views, heads=1)
    spec = ClusterAssignment(temperature=0.2, assignment=Sinkhorn(iterations=iterations))
    theirs = reference.swapped_prediction([v[:, 0] for v in z], 0.2, 0.05, iterations)
    assert_same(compute(spec, z, z[:2])[0], theirs, z)


def test_heads_are_averaged() -> None:
    z = scores(3)
    loss, _ = compute(ClusterAssignment(), z, z[:2])
    each = [
        reference.swapped_prediction([v[:, head] for v in z], 0.1, 0.05, 3) for head in range(H)
    ]
    assert_same(loss, torch.stack(each).mean(), z)


def test_stored_scores_are_balanced_with_the_batch_and_predict_nothing() -> None:
    z, stored = scores(3, heads=1), scores(2, heads=1, seed=1)
    loss, _ = compute(ClusterAssignment(), z, z[:2], stored=[s.detach() for s in stored])
    theirs = reference.swapped_prediction(
        [v[:, 0] for v in z], 0.1, 0.05, 3, [s.detach()[:, 0] for s in stored]
    )
    assert_same(loss, theirs, z)


def test_one_direction_predicts_the_second_view_only() -> None:
    z = scores(3, heads=1)
    spec = ClusterAssignment(symmetric=False)
    loss, _ = compute(spec, [z[0], None, z[2]], [None, z[1]])  # type: ignore[list-item]
    codes = reference.sinkhorn(z[1].detach()[:, 0], 0.05, 3)
    terms = [
        reference.cross_entropy(codes[i], view[i, 0], 0.1)
        for view in (z[0], z[2])
        for i in range(N)
    ]
    assert_same(loss, torch.stack(terms).mean(), [z[0], z[2]])


@pytest.mark.parametrize("how", [KMeans(), EpochSinkhorn()], ids=lambda how: type(how).__name__)
def test_every_view_predicts_the_cluster_of_its_image(how: KMeans | EpochSinkhorn) -> None:
    z = scores(4)
    spec = ClusterAssignment(temperature=0.3, assignment=how)
    loss, _ = compute(spec, z, z[:2], clusters=CLUSTERS)
    theirs = reference.cluster_prediction(z, CLUSTERS.tolist(), 0.3)
    assert_same(loss, theirs, z)


def test_no_gradient_passes_through_the_codes() -> None:
    online, target = scores(2), scores(2, seed=1)
    compute(ClusterAssignment(), online, target)[0].backward()
    assert all(t.grad is None for t in target)


def test_a_batch_on_one_prototype_has_the_entropy_of_balanced_codes() -> None:
    collapsed = torch.zeros(N, 1, K)
    collapsed[..., 2] = 1.0
    loss, metrics = compute(ClusterAssignment(), [collapsed] * 2, [collapsed] * 2)
    assert_close(metrics["assignment_entropy"], torch.tensor(math.log(K)))
    assert float(loss) > math.log(K)


def test_the_metrics_count_entropy_and_prototypes_in_use() -> None:
    spec = ClusterAssignment(assignment=KMeans())
    clusters = torch.tensor([[0, 0, 1]] * 3 + [[0, 1, 2]] * 3)
    z = scores(2)
    metrics = compute(spec, z, z, clusters=clusters)[1]
    assert float(metrics["assignment_entropy"]) == 0.0
    assert float(metrics["prototypes_used"]) == pytest.approx(100 * (1 + 2 + 2) / 3 / K)


def test_a_small_batch_that_uses_what_it_can_uses_all() -> None:
    spec = ClusterAssignment(assignment=KMeans())
    z = [view[:2] for view in scores(2)]
    clusters = torch.tensor([[0, 1, 2], [1, 3, 0]])
    assert float(compute(spec, z, z, clusters=clusters)[1]["prototypes_used"]) == 100.0


def test_clusters_that_are_not_given_are_missed() -> None:
    z = scores(2)
    with pytest.raises(UserError, match="no clusters of the last epoch"):
        compute(ClusterAssignment(assignment=KMeans()), z, z)


CASES = [Sinkhorn(), KMeans()]


def losses_of_this_process() -> list[tuple[Tensor, list[Tensor], dict[str, Tensor]]]:
    count = N // world_size()
    mine = slice(rank() * count, (rank() + 1) * count)
    stored = [s.detach() for s in scores(2, seed=1)]
    results = []
    for how in CASES:
        rows = [view.detach()[mine].requires_grad_() for view in scores(3)]
        loss, metrics = compute(
            ClusterAssignment(assignment=how), rows, rows[:2],
            stored=stored, clusters=CLUSTERS[mine],
        )  # fmt: skip
        loss.backward()
        results.append((loss.detach(), [r.grad for r in rows if r.grad is not None], metrics))
    return results


def test_two_processes_have_the_loss_gradient_and_metrics_of_one(tmp_path: Path) -> None:
    both: list[Any] = run_processes(losses_of_this_process, folder=tmp_path)
    for i, (loss, grads, metrics) in enumerate(losses_of_this_process()):
        halves = [process[i] for process in both]
        assert_close(sum(half[0] for half in halves) / 2, loss)
        for j, grad in enumerate(grads):
            assert_close(torch.cat([half[1][j] for half in halves]) / 2, grad)
        for name, value in metrics.items():
            assert_close(sum(half[2][name] for half in halves) / 2, value)
