"""The gradient norm of every layer, step by step, without a word to the host in between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

MEAN, MAXIMUM = "gradient_mean/", "gradient_max/"  # of a log point's keys, before the layer

_LAYERS = (  # pattern of a parameter's name, layer
    (r"encoder\.(?:conv1|bn1)\.", "stem"),
    (r"encoder\.patch_embed\.", "patch_embed"),
    (r"encoder\.(?:cls_token|pos_embed|reg_token)$", "tokens"),
    (r"encoder\.layer(\d+)\.", r"stage\1"),
    (r"encoder\.blocks\.(\d+)\.", r"block\1"),
    (r"encoder\.(\w+)", r"\1"),
    (r"(\w+)", r"\1"),
)


def layer_of(name: str) -> str:
    """The layer that a parameter counts to: the stem or patch embedding, a residual stage or a
    block, or the head that it is part of.

    Args:
        name: as in the method's `named_parameters`, e.g. "encoder.layer1.0.conv1.weight".
    """
    found = next((m, layer) for pattern, layer in _LAYERS if (m := re.match(pattern, name)))
    return found[0].expand(found[1])


class GradientNorms:
    """Mean and maximum, since the last `flush`, of the l2 norm of each layer's gradient.

    A norm is over all parameters of a layer together, as the loss gives it: before prototypes that
    are still frozen drop theirs, and before any clipping. A parameter that the loss does not reach
    counts as zero. Sums and maxima stay on the device: a step adds a few small
    kernels and no synchronisation. Measured: under 1 % of a step (docs/analyses.md).

    Args:
        parameters: the method's `named_parameters`; those that need no gradient are left out.
    Source: the monitor of Chen et al. 2021, arXiv:2104.02057, Sec. 4.2 and Fig. 4.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        trained = [(layer_of(name), p) for name, p in parameters if p.requires_grad]
        layers = dict.fromkeys(layer for layer, _ in trained)
        # timm declares the tokens first; the input meets the patch embedding first.
        self.layers = sorted(layers, key=lambda layer: layer != "patch_embed")
        self._parameters = [p for _, p in trained]
        device = self._parameters[0].device if trained else torch.device("cpu")
        places = [self.layers.index(layer) for layer, _ in trained]
        self._places = torch.tensor(places, dtype=torch.int64, device=device)
        self._none = torch.zeros((), device=device)
        self._sum, self._max = (torch.zeros(len(self.layers), device=device) for _ in range(2))
        self._count = torch.zeros((), device=device)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the gradients of one step; after the backward pass, before the optimiser."""
        if not self._parameters:
            return
        # The norm of a layer is the root of its tensors' squared norms: one fused kernel for all.
        grads = [self._none if p.grad is None else p.grad for p in self._parameters]
        squares = torch.stack(torch._foreach_norm(grads)).float().square()
        norms = torch.zeros_like(self._sum).index_add_(0, self._places, squares).sqrt_()
        self._sum += norms
        torch.maximum(self._max, norms, out=self._max)
        self._count += 1  # on the device, where a replayed step counts it

    def flush(self) -> dict[str, float]:
        """What a log point says: `gradient_mean/<layer>` and `gradient_max/<layer>` of the steps
        since the last call, in order of the layers; the window is empty afterwards."""
        means = torch.cat([self._sum / self._count, self._max, self._count[None]])
        *values, count = means.tolist()
        if count == 0:
            return {}
        mean, maximum = values[: len(self.layers)], values[len(self.layers) :]
        for held in (self._sum, self._max, self._count):
            held.zero_()
        return {
            **{MEAN + layer: value for layer, value in zip(self.layers, mean, strict=True)},
            **{MAXIMUM + layer: value for layer, value in zip(self.layers, maximum, strict=True)},
        }

    def state(self) -> dict[str, Any]:
        """The unfinished window, for a bit-exact resume."""
        return {"sum": self._sum, "max": self._max, "count": int(self._count)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue the window of `state()`."""
        self._sum.copy_(state["sum"])
        self._max.copy_(state["max"])
        self._count.fill_(int(state["count"]))


def layers_of(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """The layers that a run's log points have gradients of, from the input to the heads."""
    names = (name for point in points for name in point if name.startswith(MAXIMUM))
    return [name.removeprefix(MAXIMUM) for name in dict.fromkeys(names)]
