"""Which layer a parameter is in, and that its rate is what the paper says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sslbench.engine.optimizers import set_learning_rate
from sslbench.engine.schedules import learning_rate_factor
from sslbench.errors import UserError
from sslbench.evaluation.layers import (
    layer_map,
    rate_groups,
    set_drop_path,
    set_modes,
    train_last,
)
from sslbench.evaluation.tuning_fits import Classifier
from sslbench.models import build_encoder
from sslbench.recipes.specs import (
    Cosine,
    NarrowResNet,
    ResNet,
    SmallAlexNet,
    Timm,
    Torchvision,
    ViT,
)

VIT = ViT(arch="tiny", patch=8, width=16, depth=3, heads=2)
NARROW = NarrowResNet(width=4, blocks=(1, 2))


def built(spec, resolution: int = 32) -> nn.Module:
    return build_encoder(spec, resolution=resolution)


def classifier(spec) -> Classifier:
    return Classifier(built(spec), 5, std=2e-5, key=0)


def rates(spec, *, rate: float, decay: float) -> tuple[Classifier, torch.optim.Optimizer]:
    module = classifier(spec)
    groups = rate_groups(
        module, layer_map(module.encoder), rate=rate, decay=decay, weight_decay=0.05
    )
    return module, torch.optim.AdamW(groups, betas=(0.9, 0.999))


def group_of(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict:
    (found,) = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return found


def test_the_patch_projections_rate_after_a_step_of_the_schedule_is_decayed_by_every_layer():
    module, optimizer = rates(VIT, rate=1e-3, decay=0.65)
    factor = learning_rate_factor(
        Cosine(warmup_epochs=1), step=3, steps_per_epoch=10, total_epochs=10
    )
    set_learning_rate(optimizer, factor)
    module(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    found = {
        name: group_of(optimizer, parameter)["lr"] for name, parameter in module.named_parameters()
    }
    base = 1e-3 * factor
    for name in ("patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed"):
        assert found[f"encoder.{name}"] == pytest.approx(base * 0.65**4)
    for block in range(3):
        assert found[f"encoder.blocks.{block}.attn.qkv.weight"] == pytest.approx(
            base * 0.65 ** (3 - block)
        )
    for name in ("encoder.norm.weight", "head.weight", "head.bias"):
        assert found[name] == pytest.approx(base)


def test_the_step_that_is_taken_is_as_long_as_the_rate_says():
    # AdamW's first step is the rate, whatever the gradient.
    module, optimizer = rates(VIT, rate=1e-3, decay=0.5)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    before = copy.deepcopy(dict(module.named_parameters()))
    module.head.weight.data.normal_()
    before["head.weight"] = module.head.weight.detach().clone()
    module(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    after = dict(module.named_parameters())
    for name, share in (("encoder.patch_embed.proj.weight", 1 / 16), ("head.weight", 1.0),
                        ("encoder.blocks.1.mlp.fc1.weight", 1 / 4)):  # fmt: skip
        step = (after[name] - before[name]).detach().abs().max()
        assert float(step) == pytest.approx(1e-3 * share, rel=1e-2)


def test_biases_norms_positions_and_tokens_have_no_weight_decay():
    module, optimizer = rates(VIT, rate=1e-3, decay=0.75)
    for name, parameter in module.named_parameters():
        decayed = group_of(optimizer, parameter)["weight_decay"] > 0
        plain = parameter.ndim > 1 and "pos_embed" not in name and "cls_token" not in name
        assert decayed == plain, name


@pytest.mark.parametrize(
    ("spec", "blocks"),
    [
        (NARROW, 3),
        (ResNet(arch="resnet18", stem="small"), 8),
        (ResNet(arch="resnet50"), 16),
        (Timm(name="resnet26d"), 8),
        (Timm(name="vit_tiny_patch16_224"), 12),
        (Torchvision(name="resnet34"), 16),
        (Torchvision(name="vit_b_32"), 12),
        (VIT, 3),
        (VIT.but(positions="none", final_norm=False, pool="mean"), 3),
    ],
    ids=str,
)
def test_vits_and_resnets_of_any_library_have_a_layer_for_every_parameter(spec, blocks):
    encoder = built(spec)
    layers = layer_map(encoder)
    assert layers is not None and layers.num_blocks == blocks
    assert set(layers.layers) == {name for name, _ in encoder.named_parameters()}
    assert set(range(blocks + 1)) <= set(layers.layers.values()) <= set(range(blocks + 2))
    # From the input to the output no layer comes before an earlier one.
    order = [v for n, v in layers.layers.items() if not n.startswith(("cls", "pos", "class_t"))]
    assert order == sorted(order)


def test_a_residual_networks_stem_is_layer_zero_and_its_blocks_count_over_stages():
    layers = layer_map(built(NARROW)).layers
    assert layers["conv1.weight"] == layers["bn1.bias"] == 0
    assert [layers[f"layer{s}.{b}.conv1.weight"] for s, b in ((1, 0), (2, 0), (2, 1))] == [1, 2, 3]
    assert layers["layer2.0.downsample.0.weight"] == 2


def test_without_known_layers_there_is_one_rate_or_a_refusal():
    module = classifier(SmallAlexNet())
    assert layer_map(module.encoder) is None
    with pytest.raises(UserError, match=r"decay 0.75 needs a ViT or a ResNet.* use a decay of 1"):
        rate_groups(module, None, rate=1e-3, decay=0.75, weight_decay=0.0)
    groups = rate_groups(module, None, rate=1e-3, decay=1.0, weight_decay=0.1)
    assert {g["lr"] for g in groups} == {1e-3}
    assert sum(len(g["params"]) for g in groups) == len(list(module.parameters()))


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.01])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(UserError, match="must lie above 0 and be at most 1"):
        rates(VIT, rate=1e-3, decay=decay)


def test_drop_path_rises_linearly_over_a_vits_blocks_and_leaves_others_alone():
    encoder = built(VIT.but(drop_path=0.3))
    set_drop_path(encoder, 0.1)
    assert [getattr(b.drop_path1, "drop_prob", 0.0) for b in encoder.blocks] == pytest.approx(
        [0, 0.05, 0.1]
    )
    set_drop_path(encoder, 0.0)
    assert not any(hasattr(m, "drop_prob") for m in encoder.modules())
    set_drop_path(built(NARROW), 0.1)


@pytest.mark.parametrize(
    ("blocks", "trained"),
    [
        (0, set()),
        (0.5, {"blocks.2.mlp", "blocks.2.norm2", "norm"}),
        (1, {"blocks.2", "norm"}),
        (2, {"blocks.1", "blocks.2", "norm"}),
        (4, {"patch_embed", "cls_token", "pos_embed", "blocks.0", "blocks.1", "blocks.2", "norm"}),
    ],
)
def test_only_the_last_blocks_are_trained(blocks, trained):
    encoder = built(VIT)
    train_last(encoder, layer_map(encoder), blocks=blocks)
    for name, parameter in encoder.named_parameters():
        wanted = any(name == t or name.startswith(f"{t}.") for t in trained)
        assert parameter.requires_grad == wanted, name


def test_what_is_frozen_is_in_evaluation_mode():
    module = classifier(NARROW)
    train_last(module.encoder, layer_map(module.encoder), blocks=1)
    set_modes(module)
    encoder = module.encoder
    assert not encoder.bn1.training and not encoder.layer1[0].bn1.training
    assert not encoder.layer2[0].bn1.training and encoder.layer2[1].bn1.training
    frozen = encoder.bn1.running_mean.clone(), encoder.layer2[0].bn1.running_mean.clone()
    module(torch.randn(4, 3, 32, 32))
    assert torch.equal(frozen[0], encoder.bn1.running_mean)
    assert torch.equal(frozen[1], encoder.layer2[0].bn1.running_mean)
    train_last(encoder, layer_map(encoder), blocks=4)
    set_modes(module)
    assert all(m.training for m in module.modules())
