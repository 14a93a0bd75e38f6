from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.models import build_head
from sslbench.recipes import RECIPES
from sslbench.recipes.specs import MLP, Channels


def layers(head: nn.Module) -> list[str]:
    """Each layer in a few letters: Linear with widths and bias, BN with what it learns, ReLU."""
    names = []
    for layer in head.children():
        if isinstance(layer, nn.Linear):
            bias = "+b" if layer.bias is not None else ""
            names.append(f"{layer.in_features}>{layer.out_features}{bias}")
        elif isinstance(layer, nn.BatchNorm1d):
            learned = " fixed" if not layer.affine else "" if layer.bias.requires_grad else " scale"
            names.append(f"BN{layer.num_features}{learned}")
        else:
            names.append(type(layer).__name__)
    return names


def test_none_returns_its_input() -> None:
    head = build_head(None, 7)
    x = torch.randn(3, 7)
    assert head.out_features == 7
    assert head(x) is x
    assert not list(head.parameters())


def test_channels_are_the_first_ones_and_no_more_than_there_are() -> None:
    head = build_head(Channels(out=3), 7)
    x = torch.randn(2, 7)
    assert head.out_features == 3
    assert torch.equal(head(x), x[:, :3])
    assert not list(head.parameters())
    with pytest.raises(UserError, match=r"projector\.out to 7 or less"):
        build_head(Channels(out=8), 7)
    with pytest.raises(UserError, match="out must be >= 1"):
        Channels(out=0)


def test_without_hidden_layers_it_is_linear() -> None:
    assert layers(build_head(MLP(out=3), 5)) == ["5>3+b"]


def test_out_none_is_as_wide_as_the_input() -> None:
    head = build_head(MLP(hidden=(4,), out=None), 6)
    assert head.out_features == 6
    assert layers(head) == ["6>4+b", "BN4", "ReLU", "4>6+b"]


def test_every_switch_shows_in_the_layers() -> None:
    spec = MLP(hidden=(4, 3), out=2)
    assert layers(build_head(spec, 5)) == [
        "5>4+b", "BN4", "ReLU", "4>3+b", "BN3", "ReLU", "3>2+b",
    ]  # fmt: skip
    no_norm = spec.but(hidden_norm=False, out_bias=False)
    assert layers(build_head(no_norm, 5)) == ["5>4+b", "ReLU", "4>3+b", "ReLU", "3>2"]
    out_norm = spec.but(hidden=(4,), hidden_bias=False, out_norm=True)
    assert layers(build_head(out_norm, 5)) == ["5>4", "BN4", "ReLU", "4>2+b", "BN2"]
    fixed = out_norm.but(out_norm_affine=False)
    assert layers(build_head(fixed, 5))[-1] == "BN2 fixed"
    assert layers(build_head(fixed.but(out_norm_shift=False), 5))[-1] == "BN2 fixed"
    assert layers(build_head(out_norm.but(out_norm_shift=False), 5))[-1] == "BN2 scale"


def test_heads_of_the_papers() -> None:
    with torch.device("meta"):
        projectors = {
            name: layers(build_head(r.vector_projector, 2048)) for name, r in RECIPES.items()
        }
        predictor = layers(build_head(RECIPES["simsiam"].predictor, 2048))
        mocov3 = {
            name: layers(build_head(RECIPES[name].predictor, 256))
            for name in ("moco-v3", "moco-v3-vit")
        }
    assert projectors["simclr"] == ["2048>2048", "BN2048", "ReLU", "2048>128", "BN128 scale"]
    assert projectors["dcl"] == ["2048>512", "BN512", "ReLU", "512>128", "BN128 scale"]
    assert projectors["moco-v1"] == ["2048>128+b"]
    assert projectors["moco-v2"] == ["2048>2048+b", "ReLU", "2048>128+b"]
    assert projectors["npid"] == ["2048>128+b"]
    assert projectors["align-uniform"] == ["2048>128+b"]
    assert projectors["directclr"] == ["FirstChannels"]
    assert projectors["simclr-linear-projector"] == ["2048>128"]
    assert projectors["simclr-no-projector"] == []
    assert projectors["byol"] == ["2048>4096+b", "BN4096", "ReLU", "4096>256"]
    assert projectors["simsiam"] == [
        *["2048>2048", "BN2048", "ReLU"] * 2, "2048>2048", "BN2048",
    ]  # fmt: skip
    assert projectors["moco-v3"] == ["2048>4096", "BN4096", "ReLU", "4096>256", "BN256 fixed"]
    assert projectors["moco-v3-vit"] == [
        "2048>4096", "BN4096", "ReLU", "4096>4096", "BN4096", "ReLU", "4096>256", "BN256 fixed",
    ]  # fmt: skip
    assert mocov3["moco-v3"] == ["256>4096", "BN4096", "ReLU", "4096>256"]
    assert mocov3["moco-v3-vit"] == [*mocov3["moco-v3"], "BN256 fixed"]
    assert projectors["dino"] == ["2048>2048+b", "GELU", "2048>2048+b", "GELU", "2048>256+b"]
    assert projectors["ressl"] == ["2048>4096+b", "ReLU", "4096>512+b"]
    assert predictor == ["2048>512", "BN512", "ReLU", "512>2048+b"]


def test_initialisation_is_pytorchs_default() -> None:
    torch.manual_seed(0)
    ours = build_head(MLP(hidden=(6,), out=4), 5)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    assert_close(ours.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_dinos_head_has_gelu_and_small_weights() -> None:
    torch.manual_seed(0)
    spec = MLP(hidden=(200,), out=100, hidden_norm=False, activation="gelu", init="trunc_normal")
    head = build_head(spec, 300)
    assert layers(head) == ["300>200+b", "GELU", "200>100+b"]
    for layer in (head[0], head[2]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert (layer.bias == 0).all()


@pytest.mark.parametrize("trainable", [True, False])
def test_a_norm_without_shift_learns_its_scale_alone(trainable: bool) -> None:
    spec = MLP(out=2, out_norm=True, out_norm_shift=False, trainable=trainable)
    norm = build_head(spec, 3)[-1]
    assert norm.weight.requires_grad == trainable and not norm.bias.requires_grad
    assert (norm.bias == 0).all()


def test_a_frozen_head_passes_gradient_to_its_input_only() -> None:
    head = build_head(MLP(hidden=(4,), out=2, trainable=False), 3)
    x: Tensor = torch.randn(5, 3, requires_grad=True)
    head(x).square().sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert all(not p.requires_grad and p.grad is None for p in head.parameters())
