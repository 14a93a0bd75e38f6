from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives import Partition
from sslbench.recipes.specs import NoiseContrastive
from sslbench.streams import integers
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of, unit_rows

OWN, KEY, M = [3, 0, 7, 11, 4], 5, 12
SPEC = NoiseContrastive(temperature=0.3, num_negatives=7, symmetric=False)


def drawn(spec: NoiseContrastive, start: int = 0) -> list[list[int]]:
    """The rows that five anchors from that place of the batch draw."""
    rows: list[list[int]] = integers(
        KEY, torch.arange(start, start + 5), spec.num_negatives, high=M
    ).tolist()
    return rows


def known(z: float) -> Partition:
    partition = Partition()
    partition.log_value = torch.tensor(math.log(z), dtype=torch.float64)
    return partition


def nce(spec: NoiseContrastive, z: list[Tensor], partition: Partition, **more: Any) -> Tensor:
    context = {"bank": unit_rows(M), "indices": torch.tensor(OWN), "key": KEY, **more}
    return loss_of(spec, z, partition=partition, **context)


@pytest.mark.parametrize("z", [1.0, 30.0])
def test_is_the_papers_with_a_given_constant(z: float) -> None:
    (anchors,) = embeddings(1)
    expected = reference.noise_contrastive(
        anchors, unit_rows(M), OWN, drawn(SPEC), SPEC.temperature, z
    )
    assert_same(nce(SPEC, [anchors], known(z)), expected, [anchors])


def test_the_second_view_draws_its_own_rows() -> None:
    views = embeddings(2)
    spec = SPEC.but(symmetric=True)
    parts = [
        reference.noise_contrastive(
            anchors, unit_rows(M), OWN, drawn(spec, start), spec.temperature, 16.0
        )
        for anchors, start in zip(views, (0, 5), strict=True)
    ]
    assert_same(nce(spec, views, known(16.0)), sum(parts) / 2, views)


def test_the_constant_comes_from_the_first_batch_and_stays() -> None:
    (first,), (second,) = embeddings(1), embeddings(1, seed=1)
    partition = Partition()
    loss = nce(SPEC, [first], partition)
    z = reference.partition(first, unit_rows(M), drawn(SPEC), SPEC.temperature)
    assert_close(partition.log_value, z.detach().log().float())
    expected = reference.noise_contrastive(
        first, unit_rows(M), OWN, drawn(SPEC), SPEC.temperature, z.item()
    )
    assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    before = partition.log_value.clone()
    nce(SPEC, [second], partition)
    assert torch.equal(partition.log_value, before)


def test_no_gradient_flows_through_the_estimate() -> None:
    (anchors,) = embeddings(1)
    partition = Partition()
    first = torch.autograd.grad(nce(SPEC, [anchors], partition), anchors)[0]
    assert_close(torch.autograd.grad(nce(SPEC, [anchors], partition), anchors)[0], first)


def test_a_saved_constant_is_not_estimated_again() -> None:
    partition, copy = known(9.0), Partition()
    copy.load_state_dict(partition.state_dict())
    nce(SPEC, embeddings(1), copy)
    assert torch.equal(copy.log_value, partition.log_value.float())


def test_half_precision_is_computed_in_float32() -> None:
    z, bank = [x.detach().bfloat16() for x in embeddings(1)], unit_rows(M).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = nce(SPEC, z, Partition(), bank=bank)
    assert inside.dtype == torch.float32
    assert_close(inside, nce(SPEC, [z[0].float()], Partition(), bank=bank), rtol=0, atol=0)


def test_refusals() -> None:
    with pytest.raises(UserError, match="temperature must be > 0"):
        NoiseContrastive(temperature=0.0)
    with pytest.raises(UserError, match="num_negatives must be >= 1"):
        NoiseContrastive(num_negatives=0)
    with pytest.raises(UserError, match="view 1, which is absent"):
        nce(SPEC.but(symmetric=True), embeddings(1), Partition())
