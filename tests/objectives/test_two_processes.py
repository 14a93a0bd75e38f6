"""Every objective on two processes is the objective on one with all rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.objectives import Bank, Partition, Queue
from sslbench.recipes.specs import (
    AlignUniform,
    CrossCorrelation,
    FeatureTransformation,
    InfoNCE,
    NegativeCosine,
    NoiseContrastive,
    ObjectiveSpec,
    Relational,
    Ring,
    SimpleContrast,
)
from tests.reference.embeddings import compute
from tests.reference.processes import run_processes

N, D, K, M = 8, 5, 8, 20
SPECS: dict[str, ObjectiveSpec] = {
    "nt-xent": InfoNCE(),
    "nt-xent weighted": InfoNCE(negative_weight=0.3, scale=0.2, normalize=False),
    "nt-xent one direction": InfoNCE(symmetric=False),
    "other view": InfoNCE(negatives="other_view"),
    "queue": InfoNCE(negatives="queue", queue=K),
    "dcl weighted": InfoNCE(positive_in_denominator=False, positive_sigma=0.5),
    "weighted queue": InfoNCE(negatives="queue", queue=K, positive_sigma=0.5),
    "debiased hard ring": InfoNCE(class_prior=0.1, hardness=1.0, ring=Ring(outer=0.5, inner=0.3)),
    "annealed ring": InfoNCE(negatives="queue", queue=K, ring=Ring(outer=0.3, anneal="linear")),
    "transformed": InfoNCE(negatives="queue", queue=K, transform=FeatureTransformation()),
    "transformed by dimension": InfoNCE(
        negatives="queue", queue=K, transform=FeatureTransformation(per="dimension")
    ),
    "bank": InfoNCE(negatives="bank"),
    "nearest of the bank": InfoNCE(negatives="bank", symmetric=False, ring=Ring(outer=0.2)),
    "simple": SimpleContrast(),
    "hard simple": SimpleContrast(ring=Ring(outer=0.2)),
    "noise": NoiseContrastive(num_negatives=6),
    "align, uniform": AlignUniform(uniform_scale=3.0, align_power=1.5),
    "align, uniform, one direction": AlignUniform(align_weight=2.0, symmetric=False),
    "align, uniform, queue": AlignUniform(negatives="queue", queue=K, symmetric=False),
    "cosine": NegativeCosine(scale=4.0),
    "relations": Relational(queue=K),
    "relations, both directions": Relational(queue=K, symmetric=True),
    "correlation": CrossCorrelation(),
    "feature norm": CrossCorrelation(form="feature_norm"),
    "covariance": CrossCorrelation(form="covariance"),
    "cross-entropy": CrossCorrelation(form="cross_entropy"),
}
CASES = [(name, detached) for name in SPECS for detached in (False, True)]


def evaluate_all() -> list[dict[str, Any]]:
    """For each case the loss, the metrics and the gradients of this process's rows; the queue."""
    start, count = rank() * N // world_size(), N // world_size()
    results = []
    for name, detached in CASES:
        generator = torch.Generator().manual_seed(0)
        rows = [
            torch.randn(N, D, generator=generator, dtype=torch.float64)[start : start + count]
            for _ in range(4)
        ]
        leaves = [x.clone().requires_grad_() for x in rows]
        target = [x.detach() for x in leaves[2:]] if detached else leaves[2:]
        queue, bank = Queue(K, D, seed=0), Bank(M, D, momentum=0.5, seed=1)
        indices = torch.arange(3, 3 + N)[start : start + count]
        spec = SPECS[name]
        loss, metrics = compute(
            spec,
            leaves[:2],
            target,
            queue=queue.entries,
            bank=bank.entries,
            partition=Partition(),
            indices=indices,
            key=7,
            progress=0.2,
        )
        loss.backward()
        bank.update(indices, rows[3])
        queue.enqueue(rows[3].roll(1, dims=1)[: count // 2])
        grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
        results.append(
            {
                "loss": loss.detach(),
                **metrics,
                "grads": grads,
                "queue": queue.entries.clone(),
                "bank": bank.entries.clone(),
            }
        )
    return results


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    return run_processes(evaluate_all, folder=tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def one() -> list[dict[str, Any]]:
    return evaluate_all()


def rows_of(parts: list[Tensor]) -> Tensor:
    """What DDP leaves of both processes' rows: the mean over processes of their gradients."""
    return torch.cat(parts) / 2


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i]}")
def test_loss_metrics_and_gradients_agree(case: int, one: Any, two: Any) -> None:
    single, halves = one[case], [process[case] for process in two]
    for name in set(single) - {"grads", "queue", "bank"}:
        assert_close({name: sum(h[name] for h in halves) / 2}, {name: single[name]})
    for i, grad in enumerate(single["grads"]):
        assert_close(rows_of([h["grads"][i] for h in halves]), grad)
    assert any(grad.abs().max() > 1e-4 for grad in single["grads"])


def test_the_queue_is_the_same_on_both_and_holds_both_processes_keys(two: Any) -> None:
    first, second = (process[0]["queue"] for process in two)
    assert torch.equal(first, second)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(N, D, generator=generator, dtype=torch.float64) for _ in range(4)][3]
    expected = torch.nn.functional.normalize(rows.roll(1, dims=1)[[0, 1, 4, 5]].float(), dim=1)
    assert_close(first[:4], expected)


def test_the_bank_is_the_same_on_both_and_on_one(one: Any, two: Any) -> None:
    first, second = (process[0]["bank"] for process in two)
    assert torch.equal(first, second)
    assert_close(first, one[0]["bank"])
    assert not torch.equal(first[3 : 3 + N], Bank(M, D, momentum=0.5, seed=1).entries[3 : 3 + N])
