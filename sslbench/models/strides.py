"""Convolutions with a stride, where the library's own are wrong."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class StridedPointwise(nn.Conv2d):
    """A 1×1 convolution without padding or bias that takes the pixels of its stride first.

    As fast as the strided one. For fewer than eight channels, the last in memory, oneDNN 3.12
    (torch 2.14) on a CPU without AVX512 writes that one's weight gradient beyond its buffer, and
    the process ends.
    """

    def forward(self, images: Tensor) -> Tensor:
        """N×C×H×W to N×out×⌈H/stride⌉×⌈W/stride⌉."""
        height, width = self.stride
        return F.conv2d(images[..., ::height, ::width], self.weight)


def keep_strides_inside(network: nn.Module) -> nn.Module:
    """The network, in place, with strides that are at most as long as the map that they meet.

    The output is the same: one pixel. The gradient of the convolution's weights is not, in bf16 on
    a CPU: oneDNN 3.12 (torch 2.14) leaves the taps that meet no pixel to what lay in the memory,
    so that it differs from run to run and can be NaN. A deep network meets such maps where images
    are small.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and isinstance(module.padding, tuple):
            centred = zip(module.padding, module.kernel_size, strict=True)
            if all(p in (0, (k - 1) / 2) for p, k in centred):  # 0: a layer may pad for itself
                module.register_forward_pre_hook(functools.partial(_keep, stride=module.stride))
    return network


def _keep(module: nn.Module, given: tuple[Any, ...], *, stride: tuple[int, ...]) -> None:
    height, width = given[0].shape[-2:]
    module.stride = (min(stride[0], height), min(stride[1], width))  # type: ignore[assignment]
