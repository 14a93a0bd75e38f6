"""Projection and prediction heads, exactly as their specs list them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.recipes.specs import MLP, Channels, Projector, Spaces


class Head(nn.Sequential):
    """Layers in order; without layers it returns its input."""

    out_features: int

    def __init__(self, *layers: nn.Module, out_features: int) -> None:
        super().__init__(*layers)
        self.out_features = out_features

    def forward(self, features: Tensor) -> Tensor:
        """N×in_features to N×out_features."""
        for layer in self:
            features = layer(features)
        return features


class FirstChannels(nn.Module):
    """The first `count` channels: N×in_features to N×count."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, features: Tensor) -> Tensor:
        """The other channels get no gradient from here."""
        return features[:, : self.count]


class SideBySide(nn.Module):
    """Heads over the same features: N×in_features to their unit vectors, one behind the other."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """In float32 or more, also where the heads are computed in less."""
        found = [head(features) for head in self.heads]  # N×D each
        least = torch.promote_types(found[0].dtype, torch.float32)
        return torch.cat([F.normalize(each.to(least), dim=1) for each in found], dim=1)


def build_head(spec: Projector | Spaces | None, in_features: int) -> Head:
    """The head of a spec, initialised as it says in the global generator's state.

    Hidden layers are Linear-BN-ReLU ("BN applied to each fully-connected layer", SimSiam,
    Sec. 3) or Linear-ReLU; the last is Linear or Linear-BN, without ReLU. DINO has GELU in its
    place. PyTorch's default initialisation matters: SimSiam fails when the last layer starts at
    std 0.01.

    Args:
        spec: None is the identity, `Channels` a part of it; `Spaces` has several heads, each with a
            random start of its own.
        in_features: width of the input.
    Returns:
        N×in_features to N×out_features. With `trainable=False` its parameters need no gradient;
        its batch norms still follow the batch.
    Raises:
        UserError: more channels are asked for than there are.
    """
    if spec is None:
        return Head(out_features=in_features)
    if isinstance(spec, Channels):
        if spec.out > in_features:
            raise UserError(
                f"projector.out: {spec.out} channels of a representation of {in_features}; set "
                f"projector.out to {in_features} or less."
            )
        return Head(FirstChannels(spec.out), out_features=spec.out)
    if isinstance(spec, Spaces):
        heads = [_build_mlp(spec.head, in_features) for _ in range(spec.count)]
        return Head(SideBySide(heads), out_features=sum(head.out_features for head in heads))
    return _build_mlp(spec, in_features)


def _build_mlp(spec: MLP, in_features: int) -> Head:
    layers: list[nn.Module] = []
    width = in_features
    for hidden in spec.hidden:
        layers.append(nn.Linear(width, hidden, bias=spec.hidden_bias))
        if spec.hidden_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.GELU() if spec.activation == "gelu" else nn.ReLU(inplace=True))
        width = hidden
    out = in_features if spec.out is None else spec.out
    layers.append(nn.Linear(width, out, bias=spec.out_bias))
    if spec.out_norm:
        layers.append(nn.BatchNorm1d(out, affine=spec.out_norm_affine))
    head = Head(*layers, out_features=out)
    if spec.init == "trunc_normal":
        head.apply(_init_truncated)
    # After the draw: a frozen head has the start that a trained one has.
    head.requires_grad_(spec.trainable)
    if spec.out_norm and spec.out_norm_affine and not spec.out_norm_shift:
        head[-1].bias.requires_grad_(False)  # stays 0, so that files have the same keys
    return head


def _init_truncated(layer: nn.Module) -> None:
    """Caron et al. 2021 (DINO), the projection head of the authors' code."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def width(module: nn.Module, name: str) -> int:
    """An integer attribute of an encoder (`num_features`) or a head (`out_features`)."""
    value = getattr(module, name)
    assert isinstance(value, int)
    return value
