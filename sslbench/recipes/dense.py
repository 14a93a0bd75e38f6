"""Dense learning, ImageNet settings: PixPro, PixContrast, DenseCL."""

from __future__ import annotations

from sslbench.recipes.families import DenseRecipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    SGD,
    BatchNorm,
    Cosine,
    DenseContrast,
    InfoNCE,
    InstanceBranch,
    MapHead,
    NegativeCosine,
    PixelConsistency,
    PixelContrast,
    PixelPropagation,
    ResNet,
)
from sslbench.recipes.views import PRESETS

_POOLED_FIRST = (
    "The instance branch, which has weight 0 as in the released commands, projects the pooled map; "
    "the authors' code pools what it has projected."
)

pixpro = DenseRecipe(
    name="pixpro",
    source="Xie et al. 2020, arXiv:2011.10043, Sec. 3 and 4.1; the authors' code, 100 epochs",
    departures=(_POOLED_FIRST,),
    views=PRESETS["byol"].but({"first.crop.interpolation": "bilinear",
                               "second.crop.interpolation": "bilinear"}),
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MapHead(hidden=(4096,), out=256),
    predictor=PixelPropagation(gamma=2.0, layers=1),
    instance=InstanceBranch(
        projector=MLP(hidden=(4096,), out=256),
        predictor=MLP(hidden=(4096,), out=None),
        objective=NegativeCosine(scale=4.0),
        weight=0.0,
    ),
    target=EMA(momentum=0.99, schedule="cosine"),
    # -2 cos - 2 cos, as in the authors' code.
    objective=PixelConsistency(threshold=0.7, scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=1.0, weight_decay=1e-5),
    schedule=Cosine(warmup_epochs=5, warmup_start=0.01, floor=2.5e-7),  # 1e-6 of 4 at 1,024 images
    epochs=100,
    batch_size=1024,
)  # fmt: skip

pixcontrast = pixpro.but(
    name="pixcontrast",
    source="Xie et al. 2020, arXiv:2011.10043, Sec. 3.1 and Eq. 2; not in the authors' code",
    departures=(
        "The mean is over cells with a near cell in the other view, then over images and both "
        "directions; the paper's is over those in the views' intersection.",
        "All that the paper does not say of it is PixPro's.",
        _POOLED_FIRST,
    ),
    predictor=None,
    objective=PixelContrast(threshold=0.7, temperature=0.3),
)

densecl = DenseRecipe(
    name="densecl",
    source="Wang et al. 2020, arXiv:2011.09157, Sec. 3 and 4.1; the authors' code on ImageNet",
    departures=(
        "The dense loss begins after 1,000 steps, an option that the authors' commands leave off: "
        "the matches of a random backbone are noise.",
        "Heads start as torch's layers do; the authors' linear ones from a normal distribution.",
        "Shuffled BN over 8 splits stands for 8 devices, also on one device.",
    ),
    views=PRESETS["mocov2"],
    encoder=ResNet(arch="resnet50"),
    projector=MapHead(hidden=(2048,), out=128, hidden_norm=False),
    instance=InstanceBranch(
        projector=MLP(hidden=(2048,), out=128, hidden_norm=False),
        objective=InfoNCE(temperature=0.2, negatives="queue", queue=65536, symmetric=False),
        weight=0.5,
    ),
    target=EMA(momentum=0.999),
    objective=DenseContrast(temperature=0.2, queue=65536, weight=0.5, warmup_epochs=0.2),
    batch_norm=BatchNorm(mode="split", splits=8, shuffle=True),
    optimizer=SGD(lr=0.03, weight_decay=1e-4, scaling="linear"),
    schedule=Cosine(per="epoch"),
    epochs=200,
    batch_size=256,
)
