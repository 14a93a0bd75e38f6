"""Gradient norms by layer: against a loop, over windows, and through a resume."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from sslbench.data import load
from sslbench.engine.gradients import MAXIMUM, MEAN, GradientNorms, layer_of, layers_of
from sslbench.engine.trainer import Trainer
from sslbench.models import build_encoder
from sslbench.recipes.specs import ResNet, SmallAlexNet, ViT
from tests.tiny import DATA, tiny

ORDER = {
    ResNet(arch="resnet18"): ["stem", "stage1", "stage2", "stage3", "stage4"],
    ViT(arch="tiny"): ["patch_embed", "tokens", *(f"block{i}" for i in range(12)), "norm"],
    SmallAlexNet(): [f"block{i}" for i in range(7)],
}


def network() -> nn.Module:
    """A stem and a head of two parameters each."""
    module = nn.Module()
    module.encoder = nn.Module()
    module.encoder.conv1 = nn.Linear(3, 4)
    module.projector = nn.Linear(4, 2)
    return module


def give_gradients(module: nn.Module, seed: int) -> dict[str, float]:
    """Random gradients, and the norm of each layer from a loop in float64."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for layer, part in (("stem", module.encoder), ("projector", module.projector)):
        total = 0.0
        for parameter in part.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            total += sum(float(g) ** 2 for g in parameter.grad.flatten())
        found[layer] = math.sqrt(total)
    return found


def test_a_window_has_the_mean_and_maximum_of_its_steps():
    module = network()
    norms = GradientNorms(module.named_parameters())
    for window in range(2):  # the second starts empty
        steps = []
        for i in range(3):
            steps.append(give_gradients(module, 10 * window + i))
            norms.update()
        found = norms.flush()
        for layer in ("stem", "projector"):
            values = [s[layer] for s in steps]
            assert found[MAXIMUM + layer] == pytest.approx(max(values), rel=1e-6)
            assert found[MEAN + layer] == pytest.approx(sum(values) / 3, rel=1e-6)
    assert norms.flush() == {}


def test_a_layer_without_a_gradient_counts_as_zero_and_a_frozen_one_not_at_all():
    module = network()
    give_gradients(module, 0)
    module.projector.weight.grad = module.projector.bias.grad = None
    norms = GradientNorms(module.named_parameters())
    norms.update()
    assert norms.flush()[MEAN + "projector"] == 0
    module.projector.requires_grad_(False)
    assert GradientNorms(module.named_parameters()).layers == ["stem"]


@pytest.mark.parametrize("spec", ORDER, ids=lambda spec: type(spec).__name__)
def test_layers_are_in_the_order_of_the_input(spec):
    encoder = build_encoder(spec, resolution=32)
    norms = GradientNorms((f"encoder.{n}", p) for n, p in encoder.named_parameters())
    assert norms.layers == ORDER[spec]


def test_heads_are_layers():
    assert layer_of("projector.0.weight") == "projector"
    assert layer_of("prototypes.weight") == "prototypes"


def test_every_step_counts_and_a_window_goes_on_after_a_resume():
    dataset = load(DATA, root=Path("unused"))
    whole, resumed = (Trainer(tiny("byol"), dataset, device=torch.device("cpu")) for _ in range(2))
    for _ in range(2):
        whole.step()
    resumed.load_state(copy.deepcopy(whole.state()))
    whole.step()
    resumed.step()
    found = whole.gradients.flush()
    assert found == resumed.gradients.flush()
    assert layers_of([found]) == ["stem", "stage1", "stage2", "projector", "predictor"]
    for layer in layers_of([found]):
        assert 0 < found[MEAN + layer] < found[MAXIMUM + layer]
