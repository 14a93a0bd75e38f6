"""Projection and prediction heads, exactly as an `MLP` spec lists them."""

from __future__ import annotations

from torch import Tensor, nn

from sslbench.recipes.specs import MLP


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


def build_head(spec: MLP | None, in_features: int) -> Head:
    """The head of a spec, at PyTorch's default initialisation, in the global generator's state.

    Hidden layers are Linear-BN-ReLU ("BN applied to each fully-connected layer", SimSiam,
    Sec. 3) or Linear-ReLU; the last is Linear or Linear-BN, without ReLU. PyTorch's default
    initialisation matters: SimSiam fails when the last layer starts at std 0.01.

    Args:
        spec: None is the identity.
        in_features: width of the input.
    Returns:
        N×in_features to N×out_features. With `trainable=False` its parameters need no gradient;
        its batch norms still follow the batch.
    """
    if spec is None:
        return Head(out_features=in_features)
    layers: list[nn.Module] = []
    width = in_features
    for hidden in spec.hidden:
        layers.append(nn.Linear(width, hidden, bias=spec.hidden_bias))
        if spec.hidden_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU(inplace=True))
        width = hidden
    out = in_features if spec.out is None else spec.out
    layers.append(nn.Linear(width, out, bias=spec.out_bias))
    if spec.out_norm:
        layers.append(nn.BatchNorm1d(out, affine=spec.out_norm_affine))
    head = Head(*layers, out_features=out)
    head.requires_grad_(spec.trainable)
    return head
