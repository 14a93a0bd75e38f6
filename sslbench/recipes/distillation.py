"""Prediction of a target without negatives: BYOL and SimSiam, ImageNet settings (methods.md, 3)."""

from __future__ import annotations

from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    SGD,
    BatchNorm,
    Cosine,
    NegativeCosine,
    ResNet,
    Shared,
)
from sslbench.recipes.views import PRESETS

byol = Recipe(
    name="byol",
    source="Grill et al. 2020, arXiv:2006.07733, Sec. 3; the 300-epoch setting of its ablations",
    departures=(
        "The loss is -2cos - 2cos, the paper's squared distances less their constant 4.",
        "Brightness jitter is multiplicative (torchvision); the authors' is additive.",
    ),
    views=PRESETS["byol"],
    # haiku's bottleneck, the authors' encoder, starts its last norm at 0; its basic block does not.
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(4096,), out=256, out_bias=False),
    predictor=MLP(hidden=(4096,), out=None, out_bias=False),
    target=EMA(momentum=0.99, schedule="cosine"),
    objective=NegativeCosine(scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=0.3, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10),
    epochs=300,
    batch_size=4096,
)

simsiam = Recipe(
    name="simsiam",
    source="Chen and He 2020, arXiv:2011.10566, Sec. 3 and 4",
    departures=(),
    views=PRESETS["mocov2"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(2048, 2048), out=2048, hidden_bias=False, out_bias=False,
                  out_norm=True, out_norm_affine=False),
    predictor=MLP(hidden=(512,), out=None, hidden_bias=False, constant_learning_rate=True),
    target=Shared(stop_gradient=True),
    objective=NegativeCosine(scale=1.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=SGD(lr=0.05, weight_decay=1e-4, scaling="linear"),
    schedule=Cosine(per="epoch"),
    epochs=100,
    batch_size=512,
)  # fmt: skip
