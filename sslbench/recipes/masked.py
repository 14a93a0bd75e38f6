"""Masked image modelling, ImageNet settings: MAE, BEiT, SimMIM, MaskFeat."""

from __future__ import annotations

from sslbench.recipes.families import MaskedRecipe
from sslbench.recipes.specs import (
    HOG,
    AdamW,
    Codebook,
    Cosine,
    Crop,
    Decoder,
    Jitter,
    Mask,
    Pixels,
    Reconstruction,
    Steps,
    View,
    Views,
    ViT,
)
from sslbench.recipes.views import PRESETS

_POOLED = (
    "The scored representation is the mean of the patches, as in the papers' fine-tuning; the "
    "class token, which no loss reaches, has probes of its own (linear.class-token.v1)."
)
_NO_RELATIVE_BIAS = (
    "Fixed sin-cos positions in place of the blocks' relative position bias, and no LayerScale."
)

mae = MaskedRecipe(
    name="mae",
    source="He et al. 2021, arXiv:2111.06377, Sec. 3 and App. A.1; the ablations' 800 epochs",
    departures=(_POOLED,),
    views=PRESETS["mae"],
    encoder=ViT(arch="large", patch=16, positions="sincos", pool="mean", init="xavier"),
    mask=Mask(sampling="random", ratio=0.75),
    decoder=Decoder(width=512, depth=8, heads=16),
    objective=Reconstruction(target=Pixels()),
    optimizer=AdamW(lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, scaling="linear"),
    schedule=Cosine(warmup_epochs=40),
    epochs=800,
    batch_size=4096,
)

beit = MaskedRecipe(
    name="beit",
    source="Bao et al. 2021, arXiv:2106.08254, Sec. 2 and App. D; the authors' code",
    departures=(
        "The tokens are centres of k-means on patches, as many as the discrete VAE's 8,192, which "
        "cannot be had without a download.",
        _NO_RELATIVE_BIAS,
        "Xavier's start in place of a truncated normal of std 0.02, rescaled by depth.",
        _POOLED,
    ),
    views=Views(
        first=View(
            crop=Crop(scale=(0.08, 1.0), interpolation="bicubic"),
            jitter=Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0, probability=1.0),
            grayscale=0.0,
            blur=None,
        ),
        num_global=1,
    ),
    encoder=ViT(arch="base", patch=16, positions="sincos", pool="mean", init="xavier",
                drop_path=0.1),
    mask=Mask(sampling="block", ratio=75 / 196, in_encoder=True),
    decoder=None,
    objective=Reconstruction(target=Codebook(size=8192)),
    # 1.5e-3 at a batch of 2,048.
    optimizer=AdamW(lr=1.875e-4, betas=(0.9, 0.999), weight_decay=0.05, scaling="linear",
                    clip_norm=3.0, clip_whole=True),
    schedule=Cosine(warmup_epochs=10, floor=1e-5 / 1.5e-3),
    epochs=800,
    batch_size=2048,
)  # fmt: skip

simmim = MaskedRecipe(
    name="simmim",
    source="Xie et al. 2021, arXiv:2111.09886, Sec. 3 and 4.1; the authors' code",
    departures=(_NO_RELATIVE_BIAS, _POOLED),
    views=PRESETS["mae"].but({"first.crop.scale": (0.67, 1.0)}),
    encoder=ViT(arch="base", patch=16, positions="sincos", pool="mean", init="xavier",
                drop_path=0.1),
    mask=Mask(sampling="random", ratio=0.6, unit=32, in_encoder=True),
    decoder=None,
    objective=Reconstruction(target=Pixels(), loss="l1"),
    # 1e-4 at a batch of 512.
    optimizer=AdamW(lr=5e-5, betas=(0.9, 0.999), weight_decay=0.05, scaling="linear"),
    schedule=Steps(milestones=(0.875,), factor=0.1, warmup_epochs=10),
    epochs=800,
    batch_size=2048,
)  # fmt: skip

maskfeat = MaskedRecipe(
    name="maskfeat",
    source="Wei et al. 2021, arXiv:2112.09133, Sec. 3 and 4; the authors' code, ViT-B",
    departures=(
        "Absolute sin-cos positions; blocks are drawn until the ratio is met exactly.",
        _POOLED,
    ),
    views=PRESETS["mae"].but({"first.crop.scale": (0.5, 1.0)}),
    encoder=ViT(arch="base", patch=16, positions="sincos", pool="mean", init="xavier"),
    mask=Mask(sampling="block", ratio=0.4, in_encoder=True),
    decoder=None,
    objective=Reconstruction(target=HOG(bins=9, cell=8)),
    optimizer=AdamW(lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05, scaling="linear",
                    clip_norm=0.02, clip_whole=True),
    schedule=Cosine(warmup_epochs=30),
    epochs=300,
    batch_size=2048,
)  # fmt: skip
