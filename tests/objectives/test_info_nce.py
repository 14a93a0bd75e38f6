from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.candidates import Memory
from sslbench.objectives.info_nce import info_nce
from sslbench.recipes.specs import InfoNCE
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of, unit_rows

BANK = InfoNCE(temperature=0.2, negatives="bank", symmetric=False)
OWN = [3, 0, 7, 11, 4]


def bank_loss(spec: InfoNCE, anchors: Tensor, bank: Tensor, **context: Any) -> Tensor:
    return loss_of(spec, [anchors], bank=bank, indices=torch.tensor(OWN), **context)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 3.0])
def test_both_views_without_target_network_is_nt_xent(temperature: float) -> None:
    z = embeddings()
    loss, _ = info_nce(InfoNCE(temperature=temperature), z, z)
    assert_same(loss, reference.nt_xent(*z, temperature), z)


def test_queue_is_the_loss_of_moco() -> None:
    q, k, queue = embeddings(3)
    spec = InfoNCE(temperature=0.2, negatives="queue", queue=5, symmetric=False)
    unit = torch.nn.functional.normalize(queue.detach(), dim=1)
    loss, _ = info_nce(spec, [q, None], [None, k.detach()], memory=Memory(queue=unit))
    assert_same(loss, reference.moco(q, k.detach(), unit, 0.2), [q])


def test_symmetric_queue_averages_the_two_directions() -> None:
    p1, p2, z1, z2, queue = (x.detach() for x in embeddings(5))
    spec = InfoNCE(negatives="queue", queue=5)
    both, _ = info_nce(spec, [p1, p2], [z1, z2], memory=Memory(queue=queue))
    one, _ = info_nce(spec.but(symmetric=False), [p1, None], [None, z2], memory=Memory(queue=queue))
    other, _ = info_nce(
        spec.but(symmetric=False), [p2, None], [None, z1], memory=Memory(queue=queue)
    )
    assert_close(both, (one + other) / 2)


def test_other_view_is_the_loss_of_moco_v3_without_its_factor() -> None:
    p1, p2, z1, z2 = embeddings(4)
    loss, _ = info_nce(InfoNCE(temperature=0.3, negatives="other_view"), [p1, p2], [z1, z2])
    ours = [reference.batch_keys(p1, z2, 0.3), reference.batch_keys(p2, z1, 0.3)]
    assert_same(loss, (ours[0] + ours[1]) / 2, [p1, p2, z1, z2])


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_scaled_by_two_temperatures_it_is_byols_form_with_negatives(beta: float) -> None:
    online, same, other = embeddings(3)
    spec = InfoNCE(temperature=0.1, symmetric=False, negative_weight=beta, scale=0.2)
    loss, _ = info_nce(spec, [online, None], [same, other])
    paper = reference.byol_with_negatives(online, same, other, alpha=0.1, beta=beta)
    assert_same(loss, -paper, [online, other])


def test_weight_zero_is_pure_attraction() -> None:
    p1, p2, z1, z2 = embeddings(4)
    loss, metrics = info_nce(InfoNCE(temperature=0.5, negative_weight=0), [p1, p2], [z1, z2])
    assert_close(loss, reference.simsiam(p1, p2, z1, z2) / 0.5)
    assert_close(metrics["positive_similarity"], -reference.simsiam(p1, p2, z1, z2).detach())


def test_towards_temperature_zero_only_the_hardest_negative_counts() -> None:
    q, k = (x.detach() for x in embeddings())
    spec = InfoNCE(temperature=1e-4, negatives="other_view", symmetric=False)
    loss, _ = info_nce(spec, [q, None], [None, k])
    s = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(k).T
    assert_close(loss * 1e-4, (s.max(dim=1).values - s.diagonal()).mean())


def test_towards_infinite_temperature_every_candidate_counts_alike() -> None:
    z = embeddings(n=6)
    loss, metrics = info_nce(InfoNCE(temperature=1e7), z, z)
    assert loss.item() == pytest.approx(math.log(2 * 6 - 1), abs=1e-6)
    assert metrics["contrastive_entropy"].item() == pytest.approx(math.log(2 * 6 - 1), abs=1e-6)


def test_swapping_the_views_changes_nothing() -> None:
    z1, z2 = embeddings()
    assert_close(info_nce(InfoNCE(), [z1, z2], [z1, z2]), info_nce(InfoNCE(), [z2, z1], [z2, z1]))


def test_the_order_of_images_does_not_matter() -> None:
    z = embeddings()
    shuffled = [x[[3, 0, 4, 1, 2]] for x in z]
    assert_close(info_nce(InfoNCE(), z, z), info_nce(InfoNCE(), shuffled, shuffled))


def test_lengths_do_not_matter_unless_normalize_is_off() -> None:
    z1, z2 = embeddings()
    spec = InfoNCE(negatives="other_view", symmetric=False)
    longer = [z1 * 3, z2]
    assert_close(info_nce(spec, [z1, z2], [z1, z2])[0], info_nce(spec, longer, [z1, z2])[0])
    plain = spec.but(normalize=False)
    logits = z1 @ z2.T / spec.temperature
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(5))
    assert_close(info_nce(plain, [z1, z2], [z1, z2])[0], expected)


def test_gradient_does_not_reach_a_detached_target() -> None:
    p1, p2, z1, z2 = embeddings(4)
    loss, _ = info_nce(InfoNCE(), [p1, p2], [z1.detach(), z2.detach()])
    loss.backward()
    assert p1.grad is not None and p2.grad is not None
    assert z1.grad is None and z2.grad is None


def test_gradient_flows_through_the_negatives_of_nt_xent() -> None:
    z = embeddings()
    whole = torch.autograd.grad(info_nce(InfoNCE(), z, z)[0], z)
    stopped = torch.autograd.grad(info_nce(InfoNCE(), z, [x.detach() for x in z])[0], z)
    assert not torch.allclose(whole[0], stopped[0], rtol=0.1)


def test_accuracy_is_100_for_equal_views_and_0_for_a_collapsed_encoder() -> None:
    z = torch.eye(4)
    assert info_nce(InfoNCE(), [z, z], [z, z])[1]["contrastive_accuracy"] == 100
    same = torch.ones(4, 3)
    assert info_nce(InfoNCE(), [same, same], [same, same])[1]["contrastive_accuracy"] == 0


def test_accuracy_is_the_percentage_of_anchors() -> None:
    q, k = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]
    spec = InfoNCE(negatives="other_view", symmetric=False)
    assert info_nce(spec, [q, None], [None, k])[1]["contrastive_accuracy"] == 50


def test_half_precision_is_computed_in_float32() -> None:
    z = [x.detach().bfloat16() for x in embeddings()]
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = info_nce(InfoNCE(), z, z)
    outside, _ = info_nce(InfoNCE(), [x.float() for x in z], [x.float() for x in z])
    assert inside.dtype == torch.float32
    assert_close(inside, outside, rtol=0, atol=0)


def test_a_single_image_is_refused() -> None:
    z = embeddings(n=1)
    with pytest.raises(UserError, match="two images"):
        info_nce(InfoNCE(), z, z)


def test_different_widths_are_refused() -> None:
    narrow, wide = embeddings(d=3), embeddings(d=4)
    with pytest.raises(UserError, match="differ in shape"):
        info_nce(InfoNCE(), narrow, wide)


def test_a_missing_queue_is_refused() -> None:
    z = embeddings()
    with pytest.raises(UserError, match="no queue"):
        info_nce(InfoNCE(negatives="queue", queue=8), z, z)


def test_an_absent_view_is_refused() -> None:
    z1, z2 = embeddings(2)
    with pytest.raises(UserError, match="view 1, which is absent"):
        info_nce(InfoNCE(), [z1, None], [z1, z2])


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_bank_is_the_softmax_over_all_images(temperature: float) -> None:
    (z,), bank = embeddings(1), unit_rows(12)
    loss = bank_loss(BANK.but(temperature=temperature), z, bank)
    assert_same(loss, reference.bank_softmax(z, bank, OWN, temperature), [z])


def test_bank_with_two_views_averages_them() -> None:
    z, bank = embeddings(), unit_rows(12)
    both = loss_of(BANK.but(symmetric=True), z, bank=bank, indices=torch.tensor(OWN))
    assert_close(both, (bank_loss(BANK, z[0], bank) + bank_loss(BANK, z[1], bank)) / 2)


def test_towards_temperature_zero_the_bank_is_a_triplet_without_margin() -> None:
    (z,), bank = embeddings(1), unit_rows(12)
    s = torch.nn.functional.normalize(z, dim=1) @ bank.T
    expected = s.max(dim=1).values - s[torch.arange(5), OWN]  # Wang and Liu 2020, Eq. of t -> 0
    assert_close(bank_loss(BANK.but(temperature=1e-4), z, bank) * 1e-4, expected.mean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"hardness": -0.1}, "hardness must be >= 0"),
        ({"class_prior": 1.0}, r"class_prior lies in \[0, 1\)"),
        ({"class_prior": -0.1}, r"class_prior lies in \[0, 1\)"),
        ({"class_prior": 0.1, "normalize": False}, "class_prior needs normalize"),
        ({"positive_sigma": 0.0}, "positive_sigma must be > 0"),
        ({"transform": "FeatureTransformation"}, "set negatives to 'queue'"),
    ],
)
def test_infonce_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        InfoNCE(**changes)


def test_a_missing_bank_is_refused() -> None:
    z = embeddings()
    with pytest.raises(UserError, match="given no memory bank"):
        info_nce(BANK, z, z, memory=Memory(indices=torch.tensor(OWN)))
