"""What shapes do not tell is read from the layout or asked for, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close
from torchvision.models import resnet18

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.export import load_encoder_file
from sslbench.models.positions import resample_positions
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import NarrowResNet, ResNet, ViT

VIT = ViT(width=384, depth=1, patch=16)
SMALL = ResNet(arch="resnet18", stem="small")
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
State = dict[str, Tensor]


def load(tmp_path: Path, tensors: State, spec: Spec, **more: Any) -> nn.Module:
    path = tmp_path / "theirs.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    return load_encoder_file(path, spec, resolution=32, **more)[0].eval()


def vit(prefix: str, *, fixed: bool = False) -> State:
    state = build_encoder(VIT, resolution=32).state_dict()
    state["pos_embed"] = torch.rand_like(state["pos_embed"])
    if fixed:
        state["pos_embed"][:, 0] = 0
    return {prefix + key: value for key, value in state.items()}


# --- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "fixed"), [("backbone.", False), ("module.", False), ("", True), ("model.", False)]
)
def test_heads_are_asked_for_where_layouts_differ(prefix: str, fixed: bool, tmp_path: Path) -> None:
    tensors = vit(prefix, fixed=fixed)
    with pytest.raises(UserError, match="--heads 6 or --heads 12"):
        load(tmp_path, tensors, VIT)
    six, twelve = (load(tmp_path, tensors, VIT.but(heads=n)) for n in (6, 12))
    assert not torch.allclose(six(IMAGES), twelve(IMAGES))


@pytest.mark.parametrize("prefix", ["", "teacher.backbone."])
def test_timms_and_dinos_vits_have_six(prefix: str, tmp_path: Path) -> None:
    load(tmp_path, vit(prefix), VIT)


def test_moco_v3s_small_vit_has_twelve(tmp_path: Path) -> None:
    tensors = vit("module.base_encoder.")
    for spec in (VIT, VIT.but(heads=6)):
        with pytest.raises(UserError, match="12 attention heads, not 6; say --heads 12"):
            load(tmp_path, tensors, spec)
    load(tmp_path, tensors, VIT.but(heads=12))


# --- stems --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def solo() -> nn.Module:
    """solo-learn's small-image ResNet: its first convolution pads by 2."""
    network = resnet18()
    network.fc = nn.Identity()  # type: ignore[assignment]
    network.conv1 = nn.Conv2d(3, 64, 3, padding=2, bias=False)
    network.maxpool = nn.Identity()  # type: ignore[assignment]
    return network.eval()


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.", "state_dict.backbone."])
def test_solo_learns_small_stem_is_recognised_or_asked_for(
    prefix: str, solo: nn.Module, tmp_path: Path
) -> None:
    tensors = {prefix + key: value for key, value in solo.state_dict().items()}
    with pytest.raises(UserError, match=r"resnet18-small-pad2 or .* resnet18-small-pad1"):
        load(tmp_path, tensors, SMALL)
    group = prefix.removesuffix("backbone.").removesuffix("encoder.")
    beside = {f"{group}classifier.weight": torch.zeros(10, 512)}
    with pytest.raises(UserError, match=r"file of solo-learn.*resnet18-small-pad2[.]"):
        load(tmp_path, tensors | beside, SMALL)
    encoder = load(tmp_path, tensors | beside, SMALL.but(stem_padding=2))
    assert_close(encoder(IMAGES), solo(IMAGES), rtol=1e-4, atol=1e-5)
    other = load(tmp_path, tensors, SMALL.but(stem_padding=1))
    assert not torch.allclose(other(IMAGES), solo(IMAGES), rtol=1e-3)


def test_lightlys_resnet_in_a_sequential_has_no_relu_behind_its_stem(tmp_path: Path) -> None:
    """Its ReLU is a function, which the Sequential of its children does not call."""
    network = build_encoder(SMALL, resolution=32).eval()
    names = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    children = [network.get_submodule(name) for name in names]
    theirs = nn.Sequential(*children, nn.AdaptiveAvgPool2d(1)).eval()
    tensors = {
        f"backbone.{k}".replace("downsample", "shortcut"): v for k, v in theirs.state_dict().items()
    }
    with pytest.raises(UserError, match=r"no ReLU behind the stem.*resnet18-small-norelu"):
        load(tmp_path, tensors, SMALL)
    encoder = load(tmp_path, tensors, SMALL.but(stem_relu=False))
    assert_close(encoder(IMAGES), theirs(IMAGES).flatten(1), rtol=1e-4, atol=1e-5)


def test_a_sequential_without_max_pool_is_no_imagenet_resnet(tmp_path: Path) -> None:
    modules = [m for name, m in resnet18().named_children() if name not in ("maxpool", "fc")]
    with pytest.raises(UserError, match="no max-pool behind the stem"):
        load(tmp_path, nn.Sequential(*modules).state_dict(), ResNet(arch="resnet18"))


def test_an_encoder_of_grey_images_is_named(tmp_path: Path) -> None:
    spec = NarrowResNet(width=4, blocks=(1,))
    state = build_encoder(spec, resolution=8).state_dict()
    state["conv1.weight"] = state["conv1.weight"][:, :1].clone()
    with pytest.raises(UserError, match="images of 1 channels"):
        load(tmp_path, state, spec)


# --- positions ----------------------------------------------------------------------------------


def dinos(positions: Tensor, old: int, new: int) -> Tensor:
    """DINO's interpolation, from its description: not antialiased, the grid a tenth larger."""
    grid = positions[:, 1:].permute(0, 2, 1).reshape(1, -1, old, old)
    scale = (new + 0.1) / old
    found = functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], found.flatten(2).permute(0, 2, 1)], dim=1)


def test_each_projects_positions_are_resampled_its_own_way(tmp_path: Path) -> None:
    base = ViT(arch="base", patch=4, depth=1)
    state = build_encoder(base, resolution=64).state_dict()
    positions = state["pos_embed"] = torch.randn_like(state["pos_embed"])
    found = {}
    for project, prefix, beside in (
        ("dino", "teacher.backbone.", {}),
        ("timm", "", {"head.weight": torch.zeros(2)}),
        ("mae", "model.", {"model.mask_token": torch.zeros(1)}),
    ):
        tensors = {prefix + key: value for key, value in state.items()} | beside
        found[project] = load(tmp_path, tensors, base).get_parameter("pos_embed")
    assert_close(found["dino"].data, dinos(positions, 16, 8))
    plain = functional.interpolate(
        positions[:, 1:].permute(0, 2, 1).reshape(1, -1, 16, 16), size=(8, 8), mode="bicubic"
    )
    assert_close(found["mae"].data[:, 1:], plain.flatten(2).permute(0, 2, 1))
    assert not torch.allclose(found["timm"], found["mae"], atol=1e-2)
    for side in (7, 12, 24):  # the guard against a grid one too small
        assert resample_positions(positions, side, "dino").shape[1] == side**2 + 1


def test_a_bare_vit_may_be_dinos_or_timms_and_is_asked_for(tmp_path: Path) -> None:
    base = ViT(arch="base", patch=16, depth=1)
    state = build_encoder(base, resolution=64).state_dict()
    with pytest.raises(UserError, match="--positions dino, mae or timm"):
        load(tmp_path, state, base)
    load(tmp_path, state, base, positions="dino")
