"""Heads over maps treat each cell alike; propagation is PixPro's formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sslbench.models.map_heads import Propagation, build_map_head, build_predictor
from sslbench.recipes.specs import MapHead, PixelPropagation
from tests.reference.dense import propagated


def maps(count: int = 2, channels: int = 6, height: int = 2, width: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64)
    return made.requires_grad_()


def test_a_head_has_the_layers_that_its_spec_lists() -> None:
    head = build_map_head(MapHead(hidden=(8, 7), out=5, out_norm=True), 6)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2 + [nn.Conv2d, nn.BatchNorm2d]
    assert [type(layer) for layer in head] == kinds and head.out_features == 5
    bare = build_map_head(MapHead(hidden=(), out=None, bias=False), 6)
    assert [type(layer) for layer in bare] == [nn.Conv2d] and bare.out_features == 6
    assert bare[0].bias is None


def test_a_head_is_the_same_for_each_cell() -> None:
    head = build_map_head(MapHead(hidden=(8,), out=5, hidden_norm=False), 6).double()
    x = maps()
    assert_close(head(x)[:, :, 1:2, 2:3], head(x[:, :, 1:2, 2:3]))


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_propagation_and_its_gradient_are_the_papers(gamma, layers) -> None:
    torch.manual_seed(0)
    module = Propagation(PixelPropagation(gamma=gamma, layers=layers), 6).double()
    x = maps()
    moved = module.transform(x)
    plain = torch.stack(
        [
            propagated(a.flatten(1).T, b.flatten(1).T, gamma).T.view(6, 2, 3)
            for a, b in zip(x, moved, strict=True)
        ]
    )
    found = module(x)
    assert_close(found, plain)
    leaves = [x, *module.parameters()]
    weights = torch.arange(plain.numel(), dtype=torch.float64).view(plain.shape)
    ours, theirs = (torch.autograd.grad((y * weights).sum(), leaves, retain_graph=True)
                    for y in (found, plain))  # fmt: skip
    for one, two in zip(ours, theirs, strict=True):
        assert_close(one, two, rtol=1e-6, atol=1e-8)
    assert len(list(module.parameters())) == (0, 2, 6)[layers]


def test_without_sharpness_every_cell_becomes_the_sum_of_all() -> None:
    module = Propagation(PixelPropagation(gamma=0.0, layers=0), 6)
    y = module(maps())
    assert_close(y, y[:, :, :1, :1].expand_as(y))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_a_small_sharpness_has_a_finite_gradient(gamma) -> None:
    module = Propagation(PixelPropagation(gamma=gamma, layers=0), 6)
    x = maps()
    module(x).pow(2).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_cells_that_are_opposite_give_nothing_to_each_other() -> None:
    module = Propagation(PixelPropagation(layers=0), 2)
    x = torch.tensor([[[[1.0, -2.0]], [[0.0, 0.0]]]])
    assert_close(module(x), torch.tensor([[[[1.0, -1.0]], [[0.0, 0.0]]]]))


def test_no_predictor_is_the_identity() -> None:
    x = maps()
    assert build_predictor(None, 6)(x) is x
