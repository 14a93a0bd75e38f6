"""Regions, ImageNet settings: one recipe after SoCo, and its oracle."""

from __future__ import annotations

from sslbench.recipes.families import RegionRecipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    BatchNorm,
    Cosine,
    RegionConsistency,
    ResNet,
)
from sslbench.recipes.views import PRESETS

_READING = (
    "A box is read off the encoder's last map; SoCo's C4 form reads the map before, and runs the "
    "last stage on each box.",
    "Two views, and boxes as they are: SoCo adds a third, small view, moves boxes by a tenth and "
    "blanks a part of half of them.",
)

region = RegionRecipe(
    name="region",
    source="after Wei et al. 2021 (SoCo), arXiv:2106.02637, Sec. 3 and 4.1; the authors' code",
    departures=(
        "Boxes are drawn at random in the overlap of the views; SoCo's are proposals of selective "
        "search.",
        *_READING,
    ),
    views=PRESETS["byol"].but({"first.crop.scale": (0.6, 1.0), "second.crop.scale": (0.6, 1.0)}),
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(4096,), out=256),
    predictor=MLP(hidden=(4096,), out=None),
    target=EMA(momentum=0.99, schedule="cosine"),
    # -2 cos - 2 cos, as in the authors' code.
    objective=RegionConsistency(boxes="random", count=4, scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=1.0, weight_decay=1e-5),
    schedule=Cosine(warmup_epochs=10),
    epochs=100,
    batch_size=2048,
)

region_objects = region.but(
    name="region-objects",
    source="this bench's recipe region with annotated boxes: an oracle, published nowhere",
    departures=(
        "An oracle: it trains on the boxes that annotators drew around objects (not on their "
        "classes).",
        *_READING,
    ),
).but({"objective.boxes": "objects"})
