"""The tokens of a ViT: of all patches, of the visible ones alone, and block by block."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn


def all_tokens(
    vit: nn.Module,
    images: Tensor,
    *,
    hidden: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tensor:
    """The tokens of the class and of all patches, after the final norm.

    Args:
        vit: a timm VisionTransformer.
        images: N×3×H×W, normalised; the patch divides H and W.
        hidden: N×L bool: patches in whose place `mask_token` 1×1×D stands. Positions are added
            afterwards, so that each of them knows where it is.
    Returns:
        N×(P + L)×D for P tokens that are no patches (`vit.num_prefix_tokens`).
    Source: Bao et al. 2021 (BEiT), Sec. 2.2.
    """
    network = _typed(vit)
    embedded = _embedded(network, images, hidden=hidden, mask_token=mask_token)
    tokens: Tensor = network.norm(network.blocks(embedded))
    return tokens


def visible_tokens(vit: nn.Module, images: Tensor, *, hidden: Tensor, num_visible: int) -> Tensor:
    """The tokens of the class and of the visible patches, which see nothing of the others.

    Args:
        hidden: N×L bool, of which each row has `num_visible` false.
    Returns:
        N×(P + V)×D, the patches in their order in the image (`visible_places`).
    Source: He et al. 2021 (MAE), Sec. 3, "MAE encoder".
    """
    network = _typed(vit)
    embedded = _embedded(network, images)  # N×(P + L)×D
    prefix, patches = embedded.tensor_split([network.num_prefix_tokens], dim=1)
    places = visible_places(hidden, num_visible)[:, :, None].expand(-1, -1, patches.shape[2])
    kept = torch.cat([prefix, patches.gather(1, places)], dim=1)
    tokens: Tensor = network.norm(network.blocks(kept))
    return tokens


def visible_places(hidden: Tensor, num_visible: int) -> Tensor:
    """N×V int64: the visible patches of each image, in order."""
    return hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :num_visible]


def block_tokens(vit: nn.Module, images: Tensor, *, last: int) -> list[Tensor]:
    """The tokens that come out of each of the last blocks, through the final norm.

    Returns:
        N×(P + L)×D of each of `last` blocks, the last one's at the end.
    Source: Caron et al. 2021 (DINO), whose linear probe reads four blocks so.
    """
    network = _typed(vit)
    tokens, outputs = _embedded(network, images), []
    for number, block in enumerate(network.blocks):
        tokens = block(tokens)
        if number >= len(network.blocks) - last:
            outputs.append(network.norm(tokens))
    return outputs


def group_tokens(vit: nn.Module, images: Tensor, *, groups: int) -> list[Tensor]:
    """The tokens after the last block of each of some groups of blocks, of nearly equal size; of
    fewer blocks than groups, of each block. All go through the final norm.

    Source: He et al. 2021 (MAE), App. A.3, whose detector reads four groups so.
    """
    network = _typed(vit)
    depth = len(network.blocks)
    count = min(groups, depth)
    ends = {round(depth * (i + 1) / count) - 1 for i in range(count)}
    tokens, outputs = _embedded(network, images), []
    for number, block in enumerate(network.blocks):
        tokens = block(tokens)
        if number in ends:
            outputs.append(network.norm(tokens))
    return outputs


def read(tokens: Tensor, how: Literal["class", "mean"], *, num_prefix: int = 1) -> Tensor:
    """N×D of N×(P + L)×D: the class token, or the mean of the patches."""
    return tokens[:, 0] if how == "class" else tokens[:, num_prefix:].mean(dim=1)


def _typed(vit: nn.Module) -> Any:
    return cast("Any", vit)


def _embedded(
    network: Any, images: Tensor, *, hidden: Tensor | None = None, mask_token: Tensor | None = None
) -> Tensor:
    """N×(P + L)×D: what goes into the first block."""
    patches = network.patch_embed(images)  # N×h×w×D
    if hidden is not None:
        assert mask_token is not None
        there = hidden.view(*patches.shape[:3], 1)
        patches = torch.where(there, mask_token[:, None].to(patches.dtype), patches)
    tokens: Tensor = network.norm_pre(network._pos_embed(patches))
    return tokens
