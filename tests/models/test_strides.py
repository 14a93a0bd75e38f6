from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sslbench.models.strides import StridedPointwise, keep_strides_inside

SHAPES = [(1, 3, 2), (1, 7, 2), (2, 3, 3), (2, 7, 4), (3, 5, 4), (4, 3, 2)]  # side, kernel, stride


@pytest.mark.parametrize(("side", "kernel", "stride"), SHAPES)
def test_the_output_is_the_same(side: int, kernel: int, stride: int) -> None:
    layer = nn.Conv2d(4, 8, kernel, stride=stride, padding=kernel // 2)
    images = torch.randn(2, 4, side, side)
    expected = layer(images)
    assert_close(keep_strides_inside(layer)(images), expected)


def test_a_larger_map_has_its_stride_again() -> None:
    layer = keep_strides_inside(nn.Conv2d(1, 1, 3, stride=2, padding=1))
    assert [layer(torch.zeros(1, 1, s, s)).shape[-1] for s in (1, 8, 1, 8)] == [1, 4, 1, 4]


def test_in_bf16_the_weights_gradient_is_that_of_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False)
    images = torch.randn(32, 64, 1, 1)
    layer(images).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    keep_strides_inside(layer)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images)
    del images
    output.float().square().sum().backward()
    assert_close(layer.weight.grad, expected, rtol=0.1, atol=0.5)


@pytest.mark.parametrize(("channels", "side"), [(4, 8), (5, 7), (16, 16), (4, 1)])
def test_a_strided_pointwise_convolution_is_that_of_torch(channels: int, side: int) -> None:
    torch.manual_seed(0)
    layer = StridedPointwise(channels, 8, 1, stride=2, bias=False)
    plain = nn.Conv2d(channels, 8, 1, stride=2, bias=False)  # channels first: not what fails
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(4, channels, side, side)
    given = images.clone(memory_format=torch.channels_last).requires_grad_()
    expected = images.clone().requires_grad_()
    weights = torch.randn(4, 8, -(-side // 2), -(-side // 2))
    output = layer.to(memory_format=torch.channels_last)(given)  # type: ignore[call-overload]
    (output * weights).sum().backward()
    (plain(expected) * weights).sum().backward()
    assert_close(output, plain(expected))
    assert_close(given.grad, expected.grad)
    assert_close(layer.weight.grad, plain.weight.grad)
