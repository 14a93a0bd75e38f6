"""Vision Transformers: timm's, with learned or fixed positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.recipes.specs import ViT

DEPTH = 12
WIDTHS = {"tiny": 192, "small": 384, "base": 768}
HEAD_WIDTH = 64  # 3, 6 and 12 heads


def build_vit(spec: ViT, resolution: int) -> nn.Module:
    """A ViT of 12 blocks that returns its class token or the mean of its patches.

    The final norm comes before the pooling in both cases, so that a file's keys do not depend on
    `pool`. Images of another size than `resolution` are taken with resampled positions.

    Raises:
        UserError: the patch does not divide the resolution.
    Source: Dosovitskiy et al. 2021, Table 1; Touvron et al. 2021, Table 1 (tiny and small).
    """
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    if resolution % spec.patch:
        fitting = [p for p in range(2, resolution) if resolution % p == 0]
        near = min(fitting, key=lambda p: abs(p - spec.patch), default=resolution)
        raise UserError(
            f"encoder.patch: {spec.patch} does not divide the resolution {resolution}; "
            f"try encoder.patch={near}."
        )
    width = WIDTHS[spec.arch]
    network = VisionTransformer(
        img_size=resolution,
        patch_size=spec.patch,
        embed_dim=width,
        depth=DEPTH,
        num_heads=width // HEAD_WIDTH,
        num_classes=0,
        global_pool="token" if spec.pool == "cls" else "avg",
        fc_norm=False,
        drop_path_rate=spec.drop_path,
        dynamic_img_size=True,
    )
    if spec.positions == "sincos":
        positions = sincos_positions(resolution // spec.patch, width)
        network.pos_embed = nn.Parameter(positions, requires_grad=False)
    return network


def sincos_positions(side: int, width: int) -> Tensor:
    """Fixed 2-D positions of side×side patches: 1×(1 + side²)×width, zero for the class token.

    A quarter of the width each for sine and cosine of column and row, at wavelengths from 2 pi to
    2 pi * 10,000.
    Source: Chen et al. 2021, arXiv:2104.02057, Sec. 4.1 ("the sin-cos variant in 2-D").
    """
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [p.flatten()[:, None] * frequencies for p in (column, row)]  # each side²×quarter
    patches = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, width), patches.float()])[None]
