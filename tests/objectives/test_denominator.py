"""What stands below the positive, and what weighs it: DCL, DCLW, debiased, HCL, coupling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from sslbench.objectives.info_nce import info_nce
from sslbench.recipes.specs import InfoNCE, Ring
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_without_the_positive_in_the_denominator_it_is_dcl(temperature: float) -> None:
    z = embeddings()
    spec = InfoNCE(temperature=temperature, positive_in_denominator=False)
    assert_same(loss_of(spec, z), reference.dcl(*z, temperature), z)


@pytest.mark.parametrize("sigma", [0.3, 0.5])
def test_with_a_sigma_it_is_dclw_without_gradient_through_the_weights(sigma: float) -> None:
    z = embeddings()
    spec = InfoNCE(temperature=0.2, positive_in_denominator=False, positive_sigma=sigma)
    weights = reference.von_mises_fisher_weights(*z, sigma)
    assert sum(weights) == pytest.approx(len(z[0]))
    assert_same(loss_of(spec, z), reference.dclw(*z, 0.2, weights), z)


def test_dclw_weighs_the_pairs_of_each_direction_among_themselves() -> None:
    p1, p2, z1, z2 = embeddings(4)
    spec = InfoNCE(negatives="other_view", positive_sigma=0.5)
    both, _ = info_nce(spec, [p1, p2], [z1, z2])
    one, _ = info_nce(spec.but(symmetric=False), [p1, None], [None, z2])
    other, _ = info_nce(spec.but(symmetric=False), [p2, None], [None, z1])
    assert_close(both, (one + other) / 2)


def test_a_very_large_sigma_weighs_all_pairs_alike() -> None:
    z = embeddings()
    dcl = InfoNCE(positive_in_denominator=False)
    assert_close(loss_of(dcl.but(positive_sigma=1e9), z), loss_of(dcl, z))


@pytest.mark.parametrize("hardness", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("prior", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_class_prior_and_hardness_are_debiased_and_hcl(
    temperature: float, prior: float, hardness: float
) -> None:
    z = embeddings()
    spec = InfoNCE(temperature=temperature, class_prior=prior, hardness=hardness)
    assert_same(loss_of(spec, z), reference.hard_debiased(*z, temperature, prior, hardness), z)


def test_no_prior_and_no_hardness_is_simclr() -> None:
    z = embeddings()
    assert_same(reference.hard_debiased(*z, 0.5, 0.0, 0.0), reference.nt_xent(*z, 0.5), z)
    tiny = InfoNCE(temperature=0.5, class_prior=1e-12, hardness=1e-12)
    assert_close(loss_of(tiny, z), reference.nt_xent(*z, 0.5))


@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_the_estimate_is_negative_it_is_its_floor(
    temperature: float, dtype: torch.dtype
) -> None:
    same = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=dtype, requires_grad=True)
    spec = InfoNCE(temperature=temperature, class_prior=0.9)
    loss = loss_of(spec, [same, same])
    floor = math.log(2) - 2 / temperature  # n exp(-1/t) over the positive's exp(1/t)
    assert loss.item() == pytest.approx(math.log1p(math.exp(floor)), abs=1e-6)
    loss.backward()
    assert torch.isfinite(same.grad).all()


def test_more_hardness_weighs_the_nearest_negatives_more() -> None:
    z = [x.detach() for x in embeddings()]
    losses = [loss_of(InfoNCE(hardness=h), z).item() for h in (0.0, 0.5, 1.0, 4.0)]
    assert losses == sorted(losses)
    hardest = loss_of(InfoNCE(hardness=1e4), z)
    s = F.normalize(torch.cat(z), dim=1) @ F.normalize(torch.cat(z), dim=1).T / 0.1
    own = torch.arange(10).roll(5)
    positive = s[torch.arange(10), own].clone()
    s[torch.arange(10), own] = s.diagonal()[:] = -torch.inf
    expected = torch.logaddexp(positive, s.max(dim=1).values + math.log(8)) - positive
    assert_close(hardest, expected.mean(), rtol=1e-3, atol=1e-3)


def test_coupling_is_the_probability_of_the_negatives() -> None:
    z = [x.detach() for x in embeddings()]
    metrics = info_nce(InfoNCE(temperature=0.5), z, z)[1]
    rows = F.normalize(torch.cat(z), dim=1)
    e = torch.exp(rows @ rows.T / 0.5).fill_diagonal_(0)
    q = 1 - e[torch.arange(10), torch.arange(10).roll(5)] / e.sum(dim=1)
    assert_close(metrics["coupling"], q.mean())
    assert_close(metrics["coupling_variation"], q.std(correction=0) / q.mean())
    decoupled = info_nce(InfoNCE(temperature=0.5, positive_in_denominator=False), z, z)[1]
    assert_close(decoupled, metrics)


def test_coupling_is_the_factor_between_the_gradients_of_infonce_and_dcl() -> None:
    q, k = embeddings()
    spec = InfoNCE(temperature=0.5, negatives="other_view", symmetric=False)
    grads, couplings = [], []
    for options in ({}, {"positive_in_denominator": False}):
        loss, metrics = info_nce(spec.but(options), [q, None], [None, k.detach()])
        grads.append(torch.autograd.grad(loss, q)[0])
        couplings.append(metrics["coupling"])
    factors = (grads[0] * grads[1]).sum(dim=1) / (grads[1] * grads[1]).sum(dim=1)
    assert_close(grads[0], factors[:, None] * grads[1])
    assert_close(factors.mean(), couplings[0])


OPTIONS = {
    "dcl": {"positive_in_denominator": False},
    "dclw": {"positive_in_denominator": False, "positive_sigma": 0.5},
    "debiased": {"class_prior": 0.1},
    "hard": {"class_prior": 0.1, "hardness": 1.0},
    "ring": {"ring": Ring(outer=0.5, inner=0.3)},
    "all": {"ring": Ring(outer=0.5), "class_prior": 0.1, "hardness": 1.0,
            "positive_in_denominator": False, "positive_sigma": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("temperature", [0.005, 0.5, 50.0])
def test_every_option_is_finite_in_float32_also_for_a_collapsed_encoder(
    options: dict[str, Any], temperature: float
) -> None:
    spec = InfoNCE(temperature=temperature, **options)
    for rows in (torch.ones(6, 3), F.one_hot(torch.arange(6)).float(), -torch.eye(6)[:, :3]):
        z = [rows.clone().requires_grad_(), rows.flip(1).clone().requires_grad_()]
        loss_of(spec, z).backward()
        assert all(torch.isfinite(x.grad).all() for x in z)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_ignores_the_order_of_images_and_of_views(options: dict[str, Any]) -> None:
    z = embeddings()
    spec = InfoNCE(temperature=0.3, **options)
    shuffled = [x[[3, 0, 4, 1, 2]] for x in z]
    assert_close(loss_of(spec, z), loss_of(spec, shuffled))
    assert_close(loss_of(spec, z), loss_of(spec, z[::-1]))
