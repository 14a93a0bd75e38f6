from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.choosing import choose_encoder
from sslbench.models.export import load_encoder_file
from sslbench.models.layouts import NAMINGS
from sslbench.recipes.specs import NarrowResNet, ViT

NARROW = NarrowResNet(width=4, blocks=(1, 1))
VIT = ViT(arch="base", patch=16, depth=1)
PATH = Path("theirs.safetensors")
State = dict[str, Tensor]


def encoder_of(level: float) -> State:
    state = build_encoder(NARROW, resolution=8).state_dict()
    return {k: torch.full_like(v, level) if v.dim() else v for k, v in state.items()}


def two(first: str, second: str, *, levels: tuple[float, float] = (1.0, 2.0)) -> State:
    both = zip((first, second), levels, strict=True)
    return {f"{prefix}{k}": v for prefix, level in both for k, v in encoder_of(level).items()}


@pytest.mark.parametrize(
    ("judged", "other"),
    [
        ("module.encoder_q.", "module.encoder_k."),
        ("module.base_encoder.", "module.momentum_encoder."),
        ("teacher.backbone.", "student.module.backbone."),
        ("teacher_backbone.", "student_backbone."),
        ("online_encoder.", "target_encoder."),
        ("online_net.0.", "target_net.0."),
        ("backbone.", "momentum_backbone."),
        ("backbone.", "backbone_momentum."),
        ("encoder.", "momentum_encoder."),
    ],
)
def test_of_a_known_pair_the_papers_encoder_is_judged_in_any_order(judged: str, other: str) -> None:
    for tensors in (two(judged, other), two(other, judged)):
        assert (
            choose_encoder(PATH, tensors, NARROW, namings=NAMINGS[type(NARROW)], part=None).prefix
            == judged
        )


@pytest.mark.parametrize(
    ("a", "b"), [("left", "right"), ("ema_model", "model"), ("encoder", "target_encoder")]
)
def test_of_an_unknown_pair_both_are_named_and_part_chooses(a: str, b: str) -> None:
    tensors = two(f"{a}.", f"{b}.")
    with pytest.raises(UserError, match=f"2 encoders, '{a}', '{b}', .* --part"):
        choose_encoder(PATH, tensors, NARROW, namings=NAMINGS[type(NARROW)], part=None)
    for part in (a, b):
        assert (
            choose_encoder(PATH, tensors, NARROW, namings=NAMINGS[type(NARROW)], part=part).prefix
            == f"{part}."
        )
    with pytest.raises(UserError, match=f"no encoder in the part 'x'; there is '{a}', '{b}'"):
        choose_encoder(PATH, tensors, NARROW, namings=NAMINGS[type(NARROW)], part="x")


def test_part_chooses_the_second_of_a_known_pair_too(tmp_path: Path) -> None:
    save_file(two("encoder_q.", "encoder_k."), tmp_path / "theirs.safetensors")
    encoder, report = load_encoder_file(
        tmp_path / "theirs.safetensors", NARROW, resolution=8, part="encoder_k"
    )
    assert encoder.get_parameter("conv1.weight").unique() == 2
    assert report.prefix == "encoder_k."


def test_copies_of_one_encoder_are_one() -> None:
    tensors = two("backbone.", "online_net.0.", levels=(1.0, 1.0))
    assert (
        choose_encoder(PATH, tensors, NARROW, namings=NAMINGS[type(NARROW)], part=None).prefix
        == "backbone."
    )


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("blocks.0.ls1.gamma", "DINOv2's"),
        ("fc_norm.weight", "MAE's fine-tuned"),
        ("blocks.0.attn.q_bias", "BEiT's"),
        ("dist_token", "distilled"),
        ("register_tokens", "register tokens"),
        ("norm_pre.weight", "normalises its patches first"),
    ],
)
def test_a_vit_that_none_here_is_like_is_named(key: str, says: str) -> None:
    with torch.device("meta"):
        tensors = build_encoder(VIT, resolution=16).state_dict()
    tensors[key] = torch.ones(2)
    with pytest.raises(UserError, match=f"{says}.*{re.escape(key)}.*cannot be judged"):
        choose_encoder(PATH, tensors, VIT, namings=NAMINGS[type(VIT)], part=None)
