from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.objectives.sinkhorn import prototype_potentials, sinkhorn
from tests.reference import clustering as reference
from tests.reference.processes import run_processes


def cosines(n: int, h: int, k: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, h, k, generator=generator, dtype=torch.float64) - 1


@pytest.mark.parametrize("iterations", [0, 1, 3])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_is_the_papers_algorithm_for_each_head(iterations: int, epsilon: float) -> None:
    scores = cosines(7, 3, 4)
    codes = sinkhorn(scores, epsilon=epsilon, iterations=iterations)
    for head in range(3):
        expected = reference.sinkhorn(scores[:, head], epsilon, iterations)
        assert_close(codes[:, head], expected)


def test_stored_rows_take_part_and_only_the_batch_is_returned() -> None:
    stored, batch = cosines(8, 2, 4, seed=1), cosines(5, 2, 4)
    codes = sinkhorn(batch, epsilon=0.05, iterations=3, stored=stored)
    whole = sinkhorn(torch.cat([stored, batch]), epsilon=0.05, iterations=3)
    assert_close(codes, whole[8:])
    assert not torch.allclose(codes, sinkhorn(batch, epsilon=0.05, iterations=3))


def test_no_iteration_is_the_softmax() -> None:
    scores = cosines(6, 1, 5)
    assert_close(sinkhorn(scores, epsilon=0.1, iterations=0), (scores / 0.1).softmax(-1))


@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_each_code_sums_to_one_exactly_after_few_iterations(iterations: int) -> None:
    codes = sinkhorn(cosines(9, 2, 5), epsilon=0.05, iterations=iterations)
    assert_close(codes.sum(-1), torch.ones(9, 2, dtype=torch.float64))


def test_prototypes_are_used_alike_in_the_limit() -> None:
    codes = sinkhorn(cosines(12, 2, 5), epsilon=0.1, iterations=2000)
    assert_close(codes.mean(0), torch.full((2, 5), 1 / 5, dtype=torch.float64))


def test_equal_scores_give_uniform_codes() -> None:
    codes = sinkhorn(torch.full((4, 1, 3), 0.7), epsilon=0.05, iterations=3)
    assert_close(codes, torch.full((4, 1, 3), 1 / 3))


def test_a_small_epsilon_gives_a_balanced_assignment() -> None:
    scores = torch.tensor([[0.9, 0.5], [0.8, 0.1], [0.7, 0.6], [0.2, 0.1]])[:, None]
    codes = sinkhorn(scores, epsilon=1e-2, iterations=1000)[:, 0]
    # All prefer the first; of the ways to give each prototype two, this one has the largest sum.
    hard = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert_close(codes, hard, atol=1e-3, rtol=0)


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3, 1e-6])
def test_a_tiny_epsilon_gives_no_nan_where_a_prototype_is_far_from_all(epsilon: float) -> None:
    scores = cosines(6, 1, 4).float()
    scores[:, :, 0], scores[0], scores[0, 0, 1] = -1.0, -1.0, -0.9
    codes = sinkhorn(scores, epsilon=epsilon, iterations=3)
    assert torch.isfinite(codes).all()
    assert_close(codes.sum(-1), torch.ones(6, 1))


def test_scores_of_half_precision_are_computed_in_float32() -> None:
    scores = cosines(6, 1, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = sinkhorn(scores, epsilon=0.05, iterations=3)
    assert codes.dtype == torch.float32
    assert_close(codes, sinkhorn(scores.float(), epsilon=0.05, iterations=3))


def test_codes_carry_no_gradient() -> None:
    scores = cosines(4, 1, 3).requires_grad_()
    assert not sinkhorn(scores, epsilon=0.05, iterations=3).requires_grad


def test_rows_in_parts_have_the_potentials_of_the_whole() -> None:
    logits = cosines(11, 2, 4) / 0.05
    whole = prototype_potentials(lambda: [logits], iterations=3)
    assert_close(prototype_potentials(lambda: logits.split(3), iterations=3), whole)


def codes_of_this_process() -> tuple[Tensor, Tensor]:
    """Two of this process's answers: without and with five stored rows, which no two share."""
    count = 8 // world_size()
    mine = cosines(8, 2, 3)[rank() * count : (rank() + 1) * count]
    stored = cosines(5, 2, 3, seed=1)
    return (
        sinkhorn(mine, epsilon=0.05, iterations=3),
        sinkhorn(mine, epsilon=0.05, iterations=3, stored=stored),
    )


def test_two_processes_have_the_codes_of_one(tmp_path: Path) -> None:
    both: list[Any] = run_processes(codes_of_this_process, folder=tmp_path)
    for i, codes in enumerate(codes_of_this_process()):
        assert_close(torch.cat([process[i] for process in both]), codes)


def test_the_loop_version_is_itself_balanced() -> None:
    codes = reference.sinkhorn(cosines(6, 1, 3)[:, 0], 0.1, 500)
    assert_close(codes.sum(0), torch.full((3,), 2.0, dtype=torch.float64))
    assert math.isclose(float(codes.sum()), 6.0)
