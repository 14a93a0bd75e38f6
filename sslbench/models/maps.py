"""Feature maps of an encoder, before it pools them: what dense objectives and tasks read.

A ResNet gives the output of each stage, a ViT its patches after the last block of each of four
groups of blocks, at one stride; the others see below. The encoder is called as it is, with
gradient, in the mode that it is in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from sslbench.errors import UserError
from sslbench.models.alexnet import SmallAlexNetEncoder
from sslbench.models.baselines import RawPixelEncoder
from sslbench.models.encoders import NarrowResNetEncoder
from sslbench.models.tokens import all_tokens, group_tokens

GROUPS = 4  # of a ViT's blocks: He et al. 2021 (MAE), App. A.3, after Li et al. 2021
_ALEXNET_MAPS = 5  # its blocks before the full layers


class MapShape(NamedTuple):
    """Of one map: channels, and pixels of the image that lie between two of its cells."""

    channels: int
    stride: float


def feature_maps(encoder: nn.Module, images: Tensor) -> list[Tensor]:
    """N×C×h×w of each stage, the finest first; the last one is `last_map`.

    Args:
        encoder: a ResNet, a ViT, a SmallAlexNet, raw pixels (the image itself), or a network of
            timm whose features timm knows to take.
        images: N×3×H×W, normalised.
    Raises:
        UserError: another encoder.
    """
    return _reader(encoder)(cast("Any", encoder), images)


def last_map(encoder: nn.Module, images: Tensor) -> Tensor:
    """N×C×h×w: the last of `feature_maps`, of a ViT its patches after the final norm."""
    return feature_maps(encoder, images)[-1]


def map_and_vector(encoder: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last map N×C×h×w, and what the encoder makes of it, N×D, in one forward pass.

    Raises:
        UserError: as `feature_maps`, or of an encoder whose vector is not read off its last map.
    """
    require_pooled_map(encoder)
    network: Any = encoder
    if isinstance(encoder, ResNet | NarrowResNetEncoder):
        found = _stages(network, images)[-1]
        return found, network.avgpool(found).flatten(1)
    tokens = all_tokens(encoder, images)  # N×(P + L)×D
    vector: Tensor = network.forward_head(tokens, pre_logits=True)
    return _unflattened(network, tokens, images), vector


@torch.no_grad()
def map_shapes(encoder: nn.Module, *, resolution: int) -> list[MapShape]:
    """Of each of `feature_maps`, for square images of that side; the encoder stays as it was.

    Raises:
        UserError: as `feature_maps`.
    """
    modes = [(module, module.training) for module in encoder.modules()]
    parameter = next(encoder.parameters(), torch.empty(0))
    images = torch.zeros(1, 3, resolution, resolution, device=parameter.device)
    encoder.eval()
    try:
        found = feature_maps(encoder, images)
    finally:
        for module, training in modes:
            module.training = training
    return [MapShape(m.shape[1], resolution / m.shape[2]) for m in found]


def require_maps(encoder: nn.Module) -> None:
    """Raise UserError for an encoder of which no maps are known."""
    _reader(encoder)


def require_pooled_map(encoder: nn.Module) -> None:
    """Raise UserError for an encoder whose vector is not read off its last map."""
    if not isinstance(encoder, ResNet | NarrowResNetEncoder) and not _is_vit(encoder):
        raise UserError(
            f"{type(encoder).__name__} does not pool its last map into its output; use a ResNet or "
            "a ViT."
        )


def _reader(encoder: nn.Module) -> Callable[[Any, Tensor], list[Tensor]]:
    if isinstance(encoder, ResNet | NarrowResNetEncoder):
        return _stages
    if isinstance(encoder, SmallAlexNetEncoder):
        return _convolutions
    if isinstance(encoder, RawPixelEncoder):
        return lambda _, images: [images]
    if _is_vit(encoder):
        return _groups
    if hasattr(encoder, "forward_intermediates"):
        return _intermediates
    raise UserError(
        f"{type(encoder).__name__} gives no feature maps that are known; use a ResNet, a ViT, or a "
        "network of timm that has forward_intermediates."
    )


def _is_vit(encoder: nn.Module) -> bool:
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    return isinstance(encoder, VisionTransformer)


def _stages(network: Any, images: Tensor) -> list[Tensor]:
    x = network.relu(network.bn1(network.conv1(images)))
    if hasattr(network, "maxpool"):
        x = network.maxpool(x)
    found = []
    for stage in range(getattr(network, "num_stages", 4)):
        x = network.get_submodule(f"layer{stage + 1}")(x)
        found.append(x)
    return found


def _convolutions(network: Any, images: Tensor) -> list[Tensor]:
    found, x = [], images
    for block in network.blocks[:_ALEXNET_MAPS]:
        x = block(x)
        found.append(x)
    return found


def _groups(network: Any, images: Tensor) -> list[Tensor]:
    return [_unflattened(network, t, images) for t in group_tokens(network, images, groups=GROUPS)]


def _intermediates(network: Any, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = network.forward_intermediates(
        images, intermediates_only=True, output_fmt="NCHW"
    )
    return found


def _unflattened(network: Any, tokens: Tensor, images: Tensor) -> Tensor:
    """N×(P + L)×D tokens to N×D×h×w of the patches."""
    patches = tokens[:, network.num_prefix_tokens :]
    side = network.patch_embed.patch_size[0]
    height, width = (size // side for size in images.shape[2:])
    return patches.transpose(1, 2).unflatten(2, (height, width))
