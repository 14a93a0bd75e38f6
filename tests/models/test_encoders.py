from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models.resnet import BasicBlock

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.vit import keep_all_paths, sincos_positions
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import (
    ColorHistogram,
    NarrowResNet,
    RawPixels,
    ResNet,
    SmallAlexNet,
    ViT,
)

VIT = ViT(arch="tiny", patch=8)
WIDTHS: list[tuple[Spec, int, int]] = [
    (ResNet(arch="resnet18"), 64, 512),
    (ResNet(arch="resnet18", stem="small"), 32, 512),
    (NarrowResNet(), 32, 64),
    (NarrowResNet(width=6, blocks=(2, 1), stem_stride=1), 15, 12),
    (VIT, 16, 192),
    (VIT.but(positions="sincos", pool="mean"), 16, 192),
    (VIT.but(positions="none", width=96, depth=2, heads=3), 16, 96),
    (SmallAlexNet(), 15, 4096),
    (RawPixels(), 8, 192),
    (ColorHistogram(bins=3), 8, 27),
]


@pytest.mark.parametrize(("spec", "resolution", "width"), WIDTHS, ids=lambda x: str(x)[:60])
def test_images_become_rows_of_num_features(spec: Spec, resolution: int, width: int) -> None:
    encoder = build_encoder(spec, resolution=resolution)
    features = encoder(torch.randn(2, 3, resolution, resolution))
    assert encoder.num_features == width
    assert features.shape == (2, width)
    assert features.isfinite().all()


@pytest.mark.parametrize(("arch", "width"), [("resnet50", 2048), ("wide_resnet50_2", 2048)])
def test_bottleneck_networks_are_2048_wide(arch: str, width: int) -> None:
    with torch.device("meta"):
        encoder = build_encoder(ResNet(arch=arch), resolution=224)
        assert encoder(torch.zeros(1, 3, 64, 64)).shape == (1, width)
    assert encoder.num_features == width


def test_resnet_is_torchvisions_without_classifier() -> None:
    torch.manual_seed(0)
    ours = build_encoder(ResNet(arch="resnet18"), resolution=64).eval()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_small_stem_keeps_the_resolution_up_to_the_second_stage() -> None:
    encoder = build_encoder(ResNet(arch="resnet18", stem="small"), resolution=32)
    sizes = {}
    for name in ("layer1", "layer4"):
        encoder.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: sizes.update({name: out.shape[2:]})
        )
    encoder(torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1))
    assert sizes == {"layer1": (32, 32), "layer4": (4, 4)}


@pytest.mark.parametrize("kind", [ResNet(arch="resnet18"), NarrowResNet()])
def test_zero_init_residual_makes_every_block_start_as_its_shortcut(kind: Spec) -> None:
    for zero in (True, False):
        encoder = build_encoder(kind.but(zero_init_residual=zero), resolution=32)
        scales = [m.bn2.weight for m in encoder.modules() if isinstance(m, BasicBlock)]
        assert scales
        assert all((s == (0 if zero else 1)).all() for s in scales)


def test_narrow_resnet_doubles_width_and_halves_the_side_from_the_second_stage() -> None:
    encoder = build_encoder(NarrowResNet(width=4, blocks=(1, 2, 1), stem_stride=2), resolution=32)
    shapes = []
    for name in ("conv1", "layer1", "layer2", "layer3"):
        encoder.get_submodule(name).register_forward_hook(
            lambda module, args, out: shapes.append(tuple(out.shape[1:]))
        )
    encoder(torch.randn(2, 3, 32, 32))
    assert shapes == [(4, 16, 16), (4, 16, 16), (8, 8, 8), (16, 4, 4)]
    assert [len(encoder.get_submodule(f"layer{i}")) for i in (1, 2, 3)] == [1, 2, 1]


def test_narrow_resnet_is_initialised_as_torchvisions() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(NarrowResNet(width=64), resolution=32)
    weight = encoder.get_parameter("layer1.0.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_small_alexnet_is_the_papers() -> None:
    with torch.device("meta"):
        encoder = build_encoder(SmallAlexNet(), resolution=64)
        assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, 4096)
    weights = [tuple(p.shape) for n, p in encoder.named_parameters() if p.dim() > 1]
    assert weights == [
        (96, 3, 3, 3), (192, 96, 3, 3), (384, 192, 3, 3), (384, 384, 3, 3), (192, 384, 3, 3),
        (4096, 192 * 7 * 7), (4096, 4096),
    ]  # fmt: skip
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == len(weights)


def test_small_alexnet_starts_from_a_normal_of_std_0_02() -> None:
    torch.manual_seed(0)
    weight = build_encoder(SmallAlexNet(), resolution=15).get_parameter("blocks.3.0.weight")
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)


def test_images_too_small_for_small_alexnet_are_refused() -> None:
    with pytest.raises(UserError, match="15 pixels or more, not 14"):
        build_encoder(SmallAlexNet(), resolution=14)


@pytest.mark.parametrize("spec", [NarrowResNet(), VIT])
def test_the_callers_seed_decides_the_initialisation(spec: Spec) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_encoder(spec, resolution=16).state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_a_patch_that_does_not_divide_the_resolution_is_refused() -> None:
    with pytest.raises(UserError, match=r"16 does not divide the resolution 36; try .*patch=18"):
        build_encoder(ViT(patch=16), resolution=36)


def test_vit_pools_its_class_token_or_the_mean_of_its_patches() -> None:
    torch.manual_seed(0)
    cls = build_encoder(VIT, resolution=16).eval()
    mean = build_encoder(VIT.but(pool="mean"), resolution=16).eval()
    mean.load_state_dict(cls.state_dict())
    images = torch.randn(2, 3, 16, 16)
    tokens = cls.forward_features(images)
    assert tokens.shape == (2, 1 + 4, 192)
    assert_close(cls(images), tokens[:, 0])
    assert_close(mean(images), tokens[:, 1:].mean(dim=1))


def test_vit_takes_images_of_another_size() -> None:
    encoder = build_encoder(VIT, resolution=16)
    assert encoder(torch.randn(1, 3, 32, 32)).shape == (1, 192)


def test_a_vit_may_have_a_width_depth_and_heads_of_its_own() -> None:
    encoder = build_encoder(VIT.but(width=96, depth=4, heads=3), resolution=16)
    assert encoder.num_features == 96
    assert len(encoder.blocks) == 4
    assert [block.attn.num_heads for block in encoder.blocks] == [3] * 4
    assert [ViT(arch=arch).shape()[2] for arch in ("tiny", "small", "base")] == [3, 6, 12]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "5 heads do not divide a width of 192"),
        ({"width": 90, "heads": 3, "positions": "sincos"}, "4 divides, not 90"),
        ({"drop_path": 1.0}, r"drop_path must lie in \[0, 1\)"),
        ({"depth": 0}, "must be >= 1"),
    ],
)
def test_impossible_vits_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_encoder(ViT(arch="tiny", patch=8, **fields), resolution=16)


def test_without_positions_the_order_of_patches_does_not_matter() -> None:
    encoder = build_encoder(VIT.but(positions="none"), resolution=16).eval()
    assert "pos_embed" not in encoder.state_dict()
    images = torch.randn(2, 3, 16, 16)
    moved = images.roll(8, dims=3)  # both columns of patches change places
    assert_close(encoder(moved), encoder(images))
    assert encoder(torch.randn(1, 3, 32, 32)).shape == (1, 192)
    placed = build_encoder(VIT, resolution=16).eval()
    assert not torch.allclose(placed(moved), placed(images), atol=1e-3)


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_positions_of_a_smaller_image_are_resampled(positions: str) -> None:
    encoder = build_encoder(VIT.but(positions=positions), resolution=32)
    grid = encoder.get_parameter("pos_embed")[:, 1:].detach().view(1, 4, 4, 192)
    smaller = nn.functional.interpolate(
        grid.permute(0, 3, 1, 2), size=(2, 2), mode="bicubic", antialias=True
    )
    tokens = torch.zeros(1, 2, 2, 192)  # of patches that are all zero
    placed = encoder._pos_embed(tokens)
    assert_close(placed[:, 1:], smaller.flatten(2).transpose(1, 2))


def test_a_random_patch_projection_is_never_trained() -> None:
    encoder = build_encoder(VIT.but(patch_projection="random"), resolution=16)
    encoder(torch.randn(2, 3, 16, 16)).square().sum().backward()
    frozen = [n for n, p in encoder.named_parameters() if not p.requires_grad]
    assert frozen == ["patch_embed.proj.weight", "patch_embed.proj.bias"]
    assert encoder.get_parameter("patch_embed.proj.weight").grad is None
    assert encoder.get_parameter("cls_token").grad is not None


def test_without_final_norm_the_mean_of_the_last_blocks_patches_is_returned() -> None:
    encoder = build_encoder(VIT.but(final_norm=False, pool="mean"), resolution=16).eval()
    seen: list[Tensor] = []
    encoder.blocks.register_forward_hook(lambda module, args, out: seen.append(out))
    features = encoder(torch.randn(2, 3, 16, 16))
    assert_close(features, seen[0][:, 1:].mean(dim=1))
    assert not any(name.startswith("norm.") for name in encoder.state_dict())


def test_mocov3_starts_from_xaviers_uniform_with_queries_keys_and_values_apart() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(VIT.but(init="mocov3"), resolution=16)
    bounds = {  # sqrt(6 / (inputs + outputs)), the standard deviation is that over sqrt(3)
        "patch_embed.proj.weight": (6 / (3 * 8 * 8 + 192)) ** 0.5,
        "blocks.0.attn.qkv.weight": (6 / (192 + 192)) ** 0.5,
        "blocks.0.attn.proj.weight": (6 / (192 + 192)) ** 0.5,
        "blocks.3.mlp.fc1.weight": (6 / (192 + 768)) ** 0.5,
    }
    for name, bound in bounds.items():
        weight = encoder.get_parameter(name)
        assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    biases = [p for n, p in encoder.named_parameters() if n.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)
    assert encoder.get_parameter("cls_token").std() < 2e-6


def test_paths_are_dropped_in_training_and_none_in_a_target() -> None:
    torch.manual_seed(0)
    student = build_encoder(VIT.but(drop_path=0.5), resolution=16)
    target = keep_all_paths(copy.deepcopy(student)).train()
    images = torch.randn(4, 3, 16, 16)
    assert not torch.equal(student(images), student(images))
    assert_close(target(images), student.eval()(images))
    assert target.state_dict().keys() == student.state_dict().keys()


def test_sincos_positions_are_fixed_and_distinct() -> None:
    encoder = build_encoder(VIT.but(positions="sincos"), resolution=32)
    positions = encoder.get_parameter("pos_embed")
    assert not positions.requires_grad
    assert (positions[0, 0] == 0).all()
    assert torch.cdist(positions[0], positions[0]).fill_diagonal_(9).min() > 0.5


def test_sincos_similarity_falls_with_distance_along_rows_and_columns() -> None:
    grid = sincos_positions(6, 64)[0, 1:].view(6, 6, 64)
    for line in (grid[0], grid[:, 0]):
        similarity = [float(line[0] @ other) for other in line[:4]]
        assert all(near > far for near, far in pairwise(similarity))
    assert_close(grid[2, 3] @ grid[2, 4], grid[0, 0] @ grid[0, 1])  # depends on the offset only
