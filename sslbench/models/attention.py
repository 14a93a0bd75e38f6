"""What a ViT looks at in the last block: its class token, or its patches on average."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from sslbench.errors import UserError


@torch.no_grad()
def last_attention(encoder: nn.Module, images: Tensor) -> Tensor:
    """Attention to the patches in the last block, head by head, of what the representation is made
    of: of the class token where the encoder returns it, of the patches on average where it returns
    their mean (masked encoders).

    Args:
        encoder: a timm VisionTransformer, in evaluation mode.
        images: n×3×H×W, normalised; the patch size divides H and W.
    Returns:
        n×A×h×w for A heads and h×w patches; a map sums to 1 less what goes to the class token.
    Raises:
        UserError: another encoder, one that pools otherwise, or with other blocks.
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
    first = vit.num_prefix_tokens
    asking = slice(0, 1) if asks_by_class_token(encoder) else slice(first, None)
    qkv = layer.qkv(tokens).reshape(n, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = layer.q_norm(qkv[0][:, :, asking]), layer.k_norm(qkv[1])  # n×A×Q×d, n×A×T×d
    weights = (query @ key.transpose(-2, -1) * layer.scale).float().softmax(dim=-1).mean(dim=2)
    down, right = vit.patch_embed.patch_size
    grid = (images.shape[2] // down, images.shape[3] // right)
    return weights[:, :, first:].reshape(n, layer.num_heads, *grid)


def asks_by_class_token(encoder: nn.Module) -> bool:
    """Whether a timm VisionTransformer returns its class token, and not the mean of patches."""
    return encoder.cls_token is not None and encoder.global_pool == "token"


def _checked(encoder: nn.Module) -> Any:
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    if not isinstance(encoder, VisionTransformer):
        raise UserError(
            f"Attention maps need a ViT, and this encoder is a {type(encoder).__name__}; choose a "
            "run whose encoder is one."
        )
    if not asks_by_class_token(encoder) and encoder.global_pool != "avg":
        raise UserError(
            "Attention maps are of the class token or of the patches' mean, and this ViT pools by "
            f"'{encoder.global_pool}'; choose one that has pool token or avg."
        )
    layer = getattr(encoder.blocks[-1], "attn", None)
    if type(layer).__name__ != "Attention":  # timm's others have gates, differences, rotations
        raise UserError(
            "Attention maps need plain attention, and the last block of this ViT has "
            f"{type(layer).__name__}; choose a run with another encoder."
        )
    return cast("Any", encoder)
