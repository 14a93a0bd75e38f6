"""Targets, predictors, queue and shuffled batch norm, read from the recipe's fields."""

from __future__ import annotations

import pytest
import torch

from sslbench.methods import JointEmbedding
from tests.tiny import tiny


def method(recipe: str, **changes) -> JointEmbedding:
    torch.manual_seed(0)
    return JointEmbedding(tiny(recipe, **changes).recipe, resolution=16).train()


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(16, 3, 16, 16, generator=generator) for _ in range(2)]


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("recipe", ["moco-v1", "moco-v2", "moco-v2-symmetric", "byol"])
def test_the_target_starts_as_a_copy_and_gets_no_gradient(recipe, views):
    model = method(recipe)
    for online, target in zip(model.online_parameters(), model.target_parameters(), strict=True):
        assert torch.equal(online, target)
    model(views).loss.backward()
    assert all(p.grad is None for p in model.target_parameters())
    assert all(p.grad is not None for p in model.online_parameters())


def test_a_constant_random_target_is_another_network(views):
    model = method("byol", target="ConstantRandom")
    pairs = zip(model.online_parameters(), model.target_parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_stop_gradient_changes_the_gradient_and_not_the_loss(views):
    stopped, flowing = method("simsiam"), method("simsiam", target__stop_gradient=False)
    a, b = stopped(views).loss, flowing(views).loss
    assert torch.equal(a, b)
    a.backward()
    b.backward()
    name = next(n for n in gradients(stopped) if n.startswith("encoder"))
    assert not torch.allclose(gradients(stopped)[name], gradients(flowing)[name])


def test_without_predictor_simsiam_compares_projections(views):
    model = method("simsiam", predictor=None)
    assert model.out_features == 8
    assert -1.0 <= model(views).loss.item() <= 1.0


def test_a_frozen_predictor_gets_no_gradient(views):
    model = method("simsiam", predictor__trainable=False)
    model(views).loss.backward()
    assert not any(n.startswith("predictor") for n in gradients(model))


def test_moco_asks_one_side_only(views):
    torch.manual_seed(0)
    model = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local"})
    seen: list[int] = []
    model.encoder.register_forward_hook(lambda *_: seen.append(1))
    model.target_encoder.register_forward_hook(lambda *_: seen.append(2))
    output = model(views)
    assert seen == [1, 2]
    assert output.keys.shape == (16, 8)


def test_shuffled_keys_come_back_in_order(views):
    """Key batch norm over shuffled groups gives other values; without groups the order of the
    keys is all that shuffling could change, and it does not."""
    plain = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local"})
    shuffled = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local", "shuffle": True})
    torch.testing.assert_close(plain(views).keys, shuffled(views, key=5).keys, rtol=1e-4, atol=1e-5)


def test_split_statistics_depend_on_the_shuffle():
    model = method("moco-v2")
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(16, 3, 16, 16, generator=generator) for _ in range(2)]
    a, b = model(views, key=1).keys, model(views, key=2).keys
    assert not torch.allclose(a, b, atol=1e-4)


def test_the_loss_reads_the_queue_as_it_was(views):
    model = method("moco-v2")
    before = model.queue.entries.clone()
    model(views)
    assert torch.equal(before, model.queue.entries)


def test_joint_views_share_batch_statistics(views):
    """Two views with shifted statistics: forwarded together they are not standardised apart."""
    shifted = [views[0], views[1] * 3 + 2]
    joint = method("simclr")
    apart = method("simclr", batch_norm__joint_views=False)
    assert not torch.allclose(joint(shifted).loss, apart(shifted).loss)


@pytest.mark.parametrize("predictor", [True, False])
@pytest.mark.parametrize("target", ["Shared", "EMA", "ConstantRandom"])
@pytest.mark.parametrize(
    "objective",
    ["NegativeCosine", "CrossCorrelation", "InfoNCE",
     {"kind": "InfoNCE", "negatives": "queue", "queue": 32},
     {"kind": "InfoNCE", "negatives": "both_views", "symmetric": False}],
)  # fmt: skip
def test_every_combination_of_pieces_runs(predictor, target, objective, views):
    changes = {} if predictor else {"predictor": None}
    model = method("byol", target=target, objective=objective, **changes)
    loss = model(views).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert model.encoder.state_dict().keys() == method("byol").encoder.state_dict().keys()
