"""The pieces of a recipe: views, networks, target, objective, optimiser, schedule, data."""

from __future__ import annotations

from sslbench.recipes.specs.data import Data, ImageSet, Shapes
from sslbench.recipes.specs.networks import (
    MLP,
    BatchNorm,
    ColorHistogram,
    NarrowResNet,
    RawPixels,
    ResNet,
    ViT,
)
from sslbench.recipes.specs.objectives import (
    CrossCorrelation,
    CrossEntropy,
    FeatureTransformation,
    InfoNCE,
    NegativeCosine,
    Objective,
    Ring,
    SimpleContrast,
)
from sslbench.recipes.specs.optimization import (
    LARS,
    SGD,
    AdamW,
    Cosine,
    Optimizer,
    Schedule,
    Steps,
)
from sslbench.recipes.specs.targets import (
    EMA,
    ConstantRandom,
    Shared,
    Target,
)
from sslbench.recipes.specs.views import (
    Blur,
    Crop,
    Jitter,
    Op,
    View,
    Views,
)

__all__ = [
    "EMA",
    "LARS",
    "MLP",
    "SGD",
    "AdamW",
    "BatchNorm",
    "Blur",
    "ColorHistogram",
    "ConstantRandom",
    "Cosine",
    "Crop",
    "CrossCorrelation",
    "CrossEntropy",
    "Data",
    "FeatureTransformation",
    "ImageSet",
    "InfoNCE",
    "Jitter",
    "NarrowResNet",
    "NegativeCosine",
    "Objective",
    "Op",
    "Optimizer",
    "RawPixels",
    "ResNet",
    "Ring",
    "Schedule",
    "Shapes",
    "Shared",
    "SimpleContrast",
    "Steps",
    "Target",
    "ViT",
    "View",
    "Views",
]
