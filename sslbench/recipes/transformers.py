"""MoCo v3, on a ResNet and on a Vision Transformer, ImageNet settings (methods.md, 1)."""

from __future__ import annotations

from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    AdamW,
    BatchNorm,
    Cosine,
    InfoNCE,
    ResNet,
    ViT,
)
from sslbench.recipes.views import PRESETS

_BN_HEAD = MLP(hidden=(4096,), out=256, hidden_bias=False, out_bias=False, out_norm=True,
               out_norm_affine=False)  # fmt: skip

moco_v3 = Recipe(
    name="moco-v3",
    source="Chen et al. 2021, arXiv:2104.02057, Sec. 3 and App. B; the authors' code, 300 epochs",
    departures=(),
    views=PRESETS["mocov3"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=_BN_HEAD,
    predictor=_BN_HEAD.but(out=None, out_norm=False, out_norm_affine=True),
    target=EMA(momentum=0.99, schedule="cosine"),
    # Algorithm 1 sums two directions, each times twice the temperature.
    objective=InfoNCE(temperature=1.0, negatives="other_view", scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=0.3, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10),
    epochs=300,
    batch_size=4096,
)

moco_v3_vit = moco_v3.but(
    name="moco-v3-vit",
    source="Chen et al. 2021, arXiv:2104.02057, Sec. 4 and 5; the authors' code",
    encoder=ViT(arch="small", patch=16, heads=12, positions="sincos", patch_projection="random",
                init="mocov3"),
    projector=_BN_HEAD.but(hidden=(4096, 4096)),
    predictor=_BN_HEAD.but(out=None),
    objective=InfoNCE(temperature=0.2, negatives="other_view", scale=0.8),
    optimizer=AdamW(lr=1.5e-4, weight_decay=0.1, exclude_bias_and_norm=False, scaling="linear"),
    schedule=Cosine(warmup_epochs=40),
).but({"views.*.crop.scale": (0.08, 1.0)})  # fmt: skip
