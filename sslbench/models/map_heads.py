"""Heads over feature maps: 1x1 convolutions, and PixPro's propagation between the cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.models.heads import Head
from sslbench.recipes.specs import MapHead, PixelPropagation

_LEAST = 1e-6  # of a similarity below gamma 1, whose slope at 0 is infinite: the authors' code


def build_map_head(spec: MapHead, in_channels: int) -> Head:
    """The head of a spec, N×in_channels×h×w to N×out_features×h×w, from torch's initialisation in
    the global generator's state."""
    layers: list[nn.Module] = []
    width = in_channels
    for hidden in spec.hidden:
        layers.append(nn.Conv2d(width, hidden, 1, bias=spec.bias))
        if spec.hidden_norm:
            layers.append(nn.BatchNorm2d(hidden))
        layers.append(nn.ReLU(inplace=True))
        width = hidden
    out = in_channels if spec.out is None else spec.out
    layers.append(nn.Conv2d(width, out, 1, bias=spec.bias))
    if spec.out_norm:
        layers.append(nn.BatchNorm2d(out))
    return Head(*layers, out_features=out)


class Propagation(nn.Module):
    """y_i = sum_j max(cos(x_i, x_j), 0)^gamma u_j over the cells of a map, u_j the unit vector of
    what the transformation makes of x_j.

    Source: Xie et al. 2020 (PixPro), Eq. 3 and 4; u is normalised in the authors' code.
    """

    def __init__(self, spec: PixelPropagation, width: int) -> None:
        super().__init__()
        self.gamma, self.out_features = spec.gamma, width
        self.transform: nn.Module = nn.Identity()
        if spec.layers:
            hidden = (width,) * (spec.layers - 1)
            self.transform = build_map_head(MapHead(hidden=hidden, out=width), width)

    def forward(self, cells: Tensor) -> Tensor:
        """N×D×h×w to the same shape, not of unit length; computed in float32 (float64 stays)."""
        moved = self.transform(cells)
        with torch.autocast(cells.device.type, enabled=False):
            x, u = (_unit(part) for part in (cells, moved))  # N×D×L
            similarity = (x.transpose(1, 2) @ x).clamp(min=0)  # N×L×L, symmetric
            if self.gamma < 1:
                similarity = similarity + _LEAST
            return (u @ similarity**self.gamma).view(cells.shape)


def build_predictor(spec: PixelPropagation | None, width: int) -> Propagation | Head:
    """The predictor over a map of that many channels; None is the identity."""
    return Head(out_features=width) if spec is None else Propagation(spec, width)


def _unit(cells: Tensor) -> Tensor:
    wide = cells if cells.dtype == torch.float64 else cells.float()
    return F.normalize(wide.flatten(2), dim=1)
