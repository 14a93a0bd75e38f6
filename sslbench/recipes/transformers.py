"""On a Vision Transformer: MoCo v3, and what DINO was compared with.

ImageNet settings.
"""

from __future__ import annotations

from sslbench.recipes.contrastive import BN_HEAD, moco_v2, moco_v3
from sslbench.recipes.distillation import byol, dino
from sslbench.recipes.specs import (
    EMA,
    MLP,
    AdamW,
    Cosine,
    InfoNCE,
    NegativeCosine,
    Shared,
    Sinkhorn,
    ViT,
)

moco_v3_vit = moco_v3.but(
    name="moco-v3-vit",
    source="Chen et al. 2021, arXiv:2104.02057, Sec. 4 and 5; the authors' code",
    # 12 heads also at a width of 384, where DeiT-S has 6; the patches' projection stays random for
    # the stability of training (Sec. 4.2).
    encoder=ViT(arch="small", patch=16, heads=12, positions="sincos", patch_projection="random",
                init="mocov3"),
    projector=BN_HEAD.but(hidden=(4096, 4096)),
    predictor=BN_HEAD.but(out=None),
    # Two directions, each times 2 x 0.2.
    objective=InfoNCE(temperature=0.2, negatives="other_view", scale=0.8),
    # All parameters decay alike in the authors' code.
    optimizer=AdamW(lr=1.5e-4, weight_decay=0.1, exclude_bias_and_norm=False, scaling="linear"),
    schedule=Cosine(warmup_epochs=40),
).but({"views.*.crop.scale": (0.08, 1.0)})  # fmt: skip

_STARRED = (
    "What the paper's tables do not say of this run is DINO's: optimiser, schedule, encoder, crops "
    "and colours."
)
_TWO_CROPS_CLIPPED = (
    "Gradients are clipped and the rate ends at 1e-6, as DINO's; the author's DINO on two crops is "
    "not clipped and ends at 1e-5 (the authors' code, issue 122)."
)
_TWO_CROPS = dino.but(
    {
        "views.num_local": 0,
        "views.local": None,
        "views.*.crop.scale": (0.14, 1.0),
        "prototypes": None,
        "objective": NegativeCosine(scale=4.0),
    }
)

byol_vit = _TWO_CROPS.but(
    name="byol-vit",
    source="Caron et al. 2021, arXiv:2104.14294, Table 2, 'BYOL*', and Table 7, row 7",
    departures=(
        _STARRED,
        _TWO_CROPS_CLIPPED,
        "The heads and the scored encoder, the online one, are BYOL's.",
    ),
    projector=byol.projector,
    predictor=byol.predictor,
    target=EMA(momentum=0.996, schedule="cosine"),
)

moco_v2_vit = _TWO_CROPS.but(
    name="moco-v2-vit",
    source="Caron et al. 2021, arXiv:2104.14294, Table 2, 'MoCov2*', and Table 7, row 8",
    departures=(
        _STARRED,
        _TWO_CROPS_CLIPPED,
        "Queue, momentum and temperature are MoCo v2's.",
        "The head is the paper's, three layers with batch norm to 256 outputs (App. B); that it is "
        "2,048 wide, has ReLU and ends without a norm is MoCo v2's.",
        "Batch norm, which only the head has, is synchronised, as in the authors' code; the paper "
        "does not say how it kept queries and keys apart.",
    ),
    projector=MLP(hidden=(2048, 2048), out=256),
    target=moco_v2.target,
    objective=moco_v2.objective,
)

swav_vit = dino.but(
    name="swav-vit",
    source="Caron et al. 2021, arXiv:2104.14294, Table 2, 'SwAV*', and Table 7, row 9",
    departures=(
        _STARRED,
        "The head and its 65,536 prototypes are DINO's too.",
        "Eight local crops, as the recipe dino has; the paper's run has six (App. E).",
    ),
    target=Shared(stop_gradient=True),
).but({"objective.assignment": Sinkhorn(epsilon=0.05, iterations=3)})
