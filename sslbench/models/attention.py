"""What the class token of a ViT looks at in the last block."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from sslbench.errors import UserError


@torch.no_grad()
def class_attention(encoder: nn.Module, images: Tensor) -> Tensor:
    """The class token's attention to the patches in the last block, head by head.

    Args:
        encoder: a timm VisionTransformer that returns its class token, in evaluation mode.
        images: n×3×H×W, normalised; the patch size divides H and W.
    Returns:
        n×A×h×w for A heads and h×w patches; a map sums to 1 less what the class token gives to
        itself.
    Raises:
        UserError: another encoder, one that pools without a class token, or with other blocks.
    Source: Caron et al. 2021, arXiv:2104.14294, Fig. 1 and Sec. 4.2.2.
    """
    vit = _checked(encoder)
    layer = vit.blocks[-1].attn
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    try:
        vit(images)
    finally:
        hook.remove()
    (tokens,) = inputs  # n×T×D
    n, count, _ = tokens.shape
    qkv = layer.qkv(tokens).reshape(n, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = layer.q_norm(qkv[0][:, :, :1]), layer.k_norm(qkv[1])  # n×A×1×d, n×A×T×d
    weights = (query @ key.transpose(-2, -1) * layer.scale).float().softmax(dim=-1)
    down, right = vit.patch_embed.patch_size
    grid = (images.shape[2] // down, images.shape[3] // right)
    return weights[:, :, 0, vit.num_prefix_tokens :].reshape(n, layer.num_heads, *grid)


def _checked(encoder: nn.Module) -> Any:
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    if not isinstance(encoder, VisionTransformer):
        raise UserError(
            f"Attention maps need a ViT, and this encoder is a {type(encoder).__name__}; choose a "
            "run whose encoder is one."
        )
    if encoder.cls_token is None or encoder.global_pool != "token":
        raise UserError(
            "Attention maps are the class token's, and this ViT averages its patches instead; "
            "choose a run with encoder.pool=cls, of a Timm network token."
        )
    layer = getattr(encoder.blocks[-1], "attn", None)
    if type(layer).__name__ != "Attention":  # timm's others have gates, differences, rotations
        raise UserError(
            "Attention maps need plain attention, and the last block of this ViT has "
            f"{type(layer).__name__}; choose a run with another encoder."
        )
    return cast("Any", encoder)
