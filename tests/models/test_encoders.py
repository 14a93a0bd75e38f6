from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn
from torch.testing import assert_close
from torchvision.models.resnet import BasicBlock

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.vit import sincos_positions
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
