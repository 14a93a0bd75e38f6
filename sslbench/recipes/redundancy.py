"""Redundancy reduction: Barlow Twins, ImageNet settings."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    LARS,
    MLP,
    BatchNorm,
    Cosine,
    CrossCorrelation,
    ResNet,
    Shared,
)
from sslbench.recipes.views import PRESETS

barlow_twins = JointRecipe(
    name="barlow-twins",
    source="Zbontar et al. 2021, arXiv:2103.03230, Sec. 2; the 300-epoch setting of its ablations",
    departures=(
        "Embeddings are standardised with the biased batch variance, as in the authors' code; "
        "the pseudo-code's is unbiased.",
        "Weight decay 1e-6 as in the code; the paper says 1.5e-6.",
    ),
    views=PRESETS["byol"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(8192, 8192), out=8192, hidden_bias=False, out_bias=False),
    target=Shared(stop_gradient=False),
    objective=CrossCorrelation(off_diagonal_weight=5e-3),  # the code's default is 0.0051
    batch_norm=BatchNorm(mode="synchronized"),
    # Both per 256 images: 0.0048 is for biases and norms, which LARS does not adapt.
    optimizer=LARS(lr=0.2, bias_lr=0.0048, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10, floor=0.001),
    epochs=300,
    batch_size=2048,
)
