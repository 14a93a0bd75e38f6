"""Targets, heads, queue, memory bank and shuffled batch norm, read from the recipe's fields."""

from __future__ import annotations

import pytest
import torch

from sslbench.batch import Clock
from sslbench.errors import UserError
from sslbench.methods import JointEmbedding
from tests.tiny import batch_of, tiny


def method(recipe: str, **changes) -> JointEmbedding:
    torch.manual_seed(0)
    return JointEmbedding(tiny(recipe, **changes).recipe, resolution=16, num_images=96).train()


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
    model(batch_of(views)).loss.backward()
    assert all(p.grad is None for p in model.target_parameters())
    assert all(p.grad is not None for p in model.online_parameters())


def test_a_constant_random_target_is_another_network(views):
    model = method("byol", target="ConstantRandom")
    pairs = zip(model.online_parameters(), model.target_parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_stop_gradient_changes_the_gradient_and_not_the_loss(views):
    stopped, flowing = method("simsiam"), method("simsiam", target__stop_gradient=False)
    a, b = stopped(batch_of(views)).loss, flowing(batch_of(views)).loss
    assert torch.equal(a, b)
    a.backward()
    b.backward()
    name = next(n for n in gradients(stopped) if n.startswith("encoder"))
    assert not torch.allclose(gradients(stopped)[name], gradients(flowing)[name])


def test_without_predictor_simsiam_compares_projections(views):
    model = method("simsiam", predictor=None)
    assert -1.0 <= model(batch_of(views)).loss.item() <= 1.0


def test_a_frozen_predictor_gets_no_gradient(views):
    model = method("simsiam", predictor__trainable=False)
    model(batch_of(views)).loss.backward()
    assert not any(n.startswith("predictor") for n in gradients(model))


def test_moco_asks_one_side_only(views):
    torch.manual_seed(0)
    model = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local"})
    seen: list[int] = []
    model.encoder.register_forward_hook(lambda *_: seen.append(1))
    model.target.encoder.register_forward_hook(lambda *_: seen.append(2))
    output = model(batch_of(views))
    assert seen == [1, 2]
    assert output.carry[0].shape == (16, 8)


def test_shuffled_keys_come_back_in_order(views):
    """Key batch norm over shuffled groups gives other values; without groups the order of the
    keys is all that shuffling could change, and it does not."""
    plain = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local"})
    shuffled = method("moco-v2", batch_norm={"kind": "BatchNorm", "mode": "local", "shuffle": True})
    keys = plain(batch_of(views)).carry[0]
    torch.testing.assert_close(
        keys, shuffled(batch_of(views, key=5)).carry[0], rtol=1e-4, atol=1e-5
    )


def test_split_statistics_depend_on_the_shuffle():
    model = method("moco-v2")
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(16, 3, 16, 16, generator=generator) for _ in range(2)]
    a, b = (model(batch_of(views, key=key)).carry[0] for key in (1, 2))
    assert not torch.allclose(a, b, atol=1e-4)


def test_the_loss_reads_the_queue_as_it_was(views):
    model = method("moco-v2")
    before = model.objective.queue.entries.clone()
    model(batch_of(views))
    assert torch.equal(before, model.objective.queue.entries)


def test_joint_views_share_batch_statistics(views):
    """Two views with shifted statistics: forwarded together they are not standardised apart."""
    shifted = [views[0], views[1] * 3 + 2]
    joint = method("simclr")
    apart = method("simclr", batch_norm__joint_views=False)
    assert not torch.allclose(joint(batch_of(shifted)).loss, apart(batch_of(shifted)).loss)


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
    loss = model(batch_of(views)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert model.encoder.state_dict().keys() == method("byol").encoder.state_dict().keys()


INDICES = torch.arange(40, 56)


def test_with_a_memory_bank_one_view_is_forwarded_and_the_loss_reads_the_rows_as_they_were(views):
    model = method("instdisc")
    before = model.target.bank.entries.clone()
    seen: list[int] = []
    model.encoder.register_forward_hook(lambda *_: seen.append(1))
    output = model(batch_of(views[:1], indices=INDICES))
    assert seen == [1]
    assert torch.equal(before, model.target.bank.entries)
    model.after_update([output], Clock())
    changed = (before != model.target.bank.entries).any(dim=1)
    assert torch.equal(changed.nonzero()[:, 0], INDICES)


@pytest.mark.parametrize("recipe", ["npid", "instdisc", "instdisc-hard", "simple", "simple-hard"])
def test_the_bank_keeps_the_first_view_and_a_second_is_an_anchor_too(recipe, views):
    one, two = method(recipe), method(recipe, views__num_global=2, objective__symmetric=True)
    alone, first, both = (
        model(batch_of(given, indices=INDICES)) for model, given in
        [(one, views[:1]), (one, views[1:]), (two, views)]
    )  # fmt: skip
    torch.testing.assert_close(both.embeddings, alone.embeddings)
    if recipe != "npid":  # whose views draw different noise
        torch.testing.assert_close(both.loss, (alone.loss + first.loss) / 2)


@pytest.mark.parametrize(
    "objective",
    [{"kind": "NegativeCosine", "symmetric": False}, "CrossCorrelation",
     {"kind": "AlignUniform", "symmetric": False},
     {"kind": "InfoNCE", "negatives": "other_view", "symmetric": False}],
)  # fmt: skip
def test_the_target_of_every_view_is_the_images_row(objective, views):
    model = method("instdisc", objective=objective)
    loss = model(batch_of(views[:1], indices=INDICES)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.online_parameters())
    assert not any(p.requires_grad for p in model.target.bank.parameters())


def test_a_memory_bank_needs_fixed_images_their_numbers_and_one_width(views):
    recipe = tiny("instdisc").recipe
    with pytest.raises(UserError, match="a training set of fixed images"):
        JointEmbedding(recipe, resolution=16)
    with pytest.raises(UserError, match="which images a batch holds"):
        method("instdisc")(batch_of(views[:1]))
    with pytest.raises(UserError, match=r"predictor\.out=null"):
        method("instdisc", predictor={"kind": "MLP", "out": 5})


def test_the_partition_is_estimated_once(views):
    model = method("npid")
    assert torch.isinf(model.objective.partition.log_value)
    model(batch_of(views[:1], indices=INDICES))
    before = model.objective.partition.log_value.clone()
    assert torch.isfinite(before)
    model(batch_of(views[1:], indices=INDICES))
    assert torch.equal(model.objective.partition.log_value, before)


def test_directclr_gives_gradient_to_the_first_channels_only(views):
    model = method("directclr")
    kept = []

    def keep(module, inputs, features):
        features.retain_grad()
        kept.append(features)

    model.encoder.register_forward_hook(keep)
    model(batch_of(views)).loss.backward()
    (features,) = kept  # both views in one batch
    assert features.shape == (32, 8)
    assert (features.grad[:, :4] != 0).any(dim=0).all()
    assert (features.grad[:, 4:] == 0).all()
    assert not list(model.projector.parameters())
