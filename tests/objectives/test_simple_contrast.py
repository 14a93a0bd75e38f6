from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import FeatureTransformation, InfoNCE, Ring, SimpleContrast
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of, unit_rows

OWN = [3, 0, 7, 11, 4]


def bank_loss(spec: Spec, anchors: Tensor, bank: Tensor, **context: Any) -> Tensor:
    return loss_of(spec, [anchors], bank=bank, indices=torch.tensor(OWN), **context)


def test_towards_infinite_temperature_the_bank_is_the_simple_loss() -> None:
    """Wang and Liu 2020: t (loss - log M) tends to -s_ii + the mean over all rows."""
    (z,), bank = embeddings(1), unit_rows(12)
    t = 1e5
    limit = (
        bank_loss(InfoNCE(temperature=t, negatives="bank", symmetric=False), z, bank) - math.log(12)
    ) * t
    simple = bank_loss(SimpleContrast(symmetric=False), z, bank)
    assert_close(limit, simple, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(x, z, retain_graph=True)[0] for x in (limit, simple)]
    assert_close(*gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("nearest", [None, 4])
def test_simple_and_hard_simple(weight: float, nearest: int | None) -> None:
    (z,), bank = embeddings(1), unit_rows(12)
    ring = None if nearest is None else Ring(outer=nearest / 11)
    spec = SimpleContrast(weight=weight, ring=ring, symmetric=False, scale=2.0)
    assert_same(bank_loss(spec, z, bank), 2 * reference.simple(z, bank, OWN, weight, nearest), [z])


def test_simple_over_a_ring_of_all_is_simple() -> None:
    z, bank = embeddings(), unit_rows(12)
    context = {"bank": bank, "indices": torch.tensor(OWN)}
    plain = loss_of(SimpleContrast(), z, **context)
    assert_same(loss_of(SimpleContrast(ring=Ring(outer=1.0)), z, **context), plain, z)


def test_transformation_and_simple_contrast_refuse() -> None:
    with pytest.raises(UserError, match="positive_alpha and negative_alpha must be > 0"):
        FeatureTransformation(positive_alpha=0.0)
    with pytest.raises(UserError, match="for neither, set transform to null"):
        FeatureTransformation(positive_alpha=None, negative_alpha=None)
    with pytest.raises(UserError, match="weight must be >= 0"):
        SimpleContrast(weight=-1.0)
    with pytest.raises(UserError, match="scale must be > 0"):
        SimpleContrast(scale=0.0)
