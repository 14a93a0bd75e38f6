"""Convolutions whose stride leads out of a small map."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn


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
