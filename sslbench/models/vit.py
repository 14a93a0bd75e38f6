"""Vision Transformers: timm's, with learned, fixed or no positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from sslbench.recipes.specs import ViT


def build_vit(spec: ViT, resolution: int) -> nn.Module:
    """A ViT that returns its class token or the mean of its patches.

    The final norm, where there is one, comes before the pooling in both cases, so that a file's
    keys do not depend on `pool`. Images of another size than `resolution` are taken with
    resampled positions.

    Raises:
        UserError: the patch does not divide the resolution, or the heads the width.
    Source: Dosovitskiy et al. 2021, Table 1; Touvron et al. 2021, Table 1 (tiny and small); the
    `random` patch projection is Chen et al. 2021 (MoCo v3), arXiv:2104.02057, Sec. 4.2.
    """
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    spec.require_shape()
    spec.require_fit(resolution)
    width, depth, heads = spec.shape()
    network = VisionTransformer(
        img_size=resolution,
        patch_size=spec.patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        global_pool="token" if spec.pool == "cls" else "avg",
        fc_norm=False,
        final_norm=spec.final_norm,
        pos_embed="none" if spec.positions == "none" else "learn",
        drop_path_rate=spec.drop_path,
        dynamic_img_size=True,
        weight_init="moco" if spec.init == "mocov3" else "",
    )
    projection = network.patch_embed.proj
    if spec.init == "mocov3":  # timm's form of it leaves out the patches
        nn.init.xavier_uniform_(projection.weight.flatten(1))  # a view, of one linear layer
        nn.init.zeros_(projection.bias)
    if spec.init == "xavier":
        init_xavier(network)
        nn.init.normal_(network.cls_token, std=0.02)  # type: ignore[arg-type]
    if spec.positions == "sincos":
        positions = sincos_positions(resolution // spec.patch, width)
        network.pos_embed = nn.Parameter(positions, requires_grad=False)
    projection.requires_grad_(spec.patch_projection == "learned")
    return network


def init_xavier(network: nn.Module) -> None:
    """Start every linear layer, the patches' projection among them, from Xavier's uniform
    distribution, with biases of 0.

    Source: He et al. 2021 (MAE), App. A.1; the class token is of std 0.02 there.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))  # a view, of one linear layer
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def keep_all_paths(network: nn.Module) -> nn.Module:
    """The network without stochastic depth and dropout, in place: a target drops nothing in
    training either.

    Source: Caron et al. 2021 (DINO), whose teacher is built without it.
    """
    for module in network.modules():
        if hasattr(module, "drop_prob"):  # timm's DropPath, which is slow to import
            module.drop_prob = 0.0  # type: ignore[assignment]
        if isinstance(module, StochasticDepth | _DropoutNd):
            module.p = 0.0
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
