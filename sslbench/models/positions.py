"""A ViT's positions at another size than it was trained at, as its own project does it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Resampling = Literal["dino", "mae", "timm", "torchvision"]
WAYS: dict[Resampling, str] = {
    "dino": "as DINO does it (bicubic, not antialiased, a tenth of a patch more)",
    "mae": "as MAE does it (bicubic, not antialiased)",
    "timm": "as timm does it (bicubic, antialiased)",
    "torchvision": "as torchvision does it (bicubic, corners aligned)",
}


def resample_positions(positions: Tensor, side: int, how: Resampling) -> Tensor:
    """Positions of a square grid brought to another.

    Args:
        positions: 1×(1 + old²)×D, the class token's first.
        side: of the new grid, in patches.
    Returns:
        1×(1 + side²)×D float32; the class token's is left as it is.
    Source: DINO's `interpolate_pos_encoding`, MAE's `interpolate_pos_embed`, torchvision's
    `interpolate_embeddings`; timm's is called.
    """
    old = round((positions.shape[1] - 1) ** 0.5)
    positions = positions.float()
    if how == "timm":
        from timm.layers.pos_embed import resample_abs_pos_embed  # slow to import

        resampled: Tensor = resample_abs_pos_embed(positions, [side, side], [old, old])
        return resampled
    grid = positions[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)  # 1×D×old×old
    if how == "dino":  # its guard against a grid one too small also scales the coordinates
        factor = (side + 0.1) / old
        grid = functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    else:
        grid = functional.interpolate(
            grid, size=(side, side), mode="bicubic", align_corners=how == "torchvision"
        )
    return torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, side**2, -1)], dim=1)


def at_side(positions: Tensor, side: int) -> Tensor:
    """Positions of our own ViT, 1×(1 + old²)×D, for side×side patches: resampled as timm does it,
    which wrote the network; as they are where the side is theirs."""
    same = positions.shape[1] == side**2 + 1
    return positions if same else resample_positions(positions, side, "timm")
