"""The pieces of a recipe: views, networks, target, objective, optimiser, schedule, data."""

from __future__ import annotations

from sslbench.recipes.specs.clustering import (
    Assignment,
    Centering,
    ClusterAssignment,
    EpochSinkhorn,
    KMeans,
    Sinkhorn,
)
from sslbench.recipes.specs.contrastive import (
    FeatureTransformation,
    InfoNCE,
    NoiseContrastive,
    Ring,
    SimpleContrast,
)
from sslbench.recipes.specs.data import Clips, Data, DrawnSpec, ImageSet, Scenes, Shapes
from sslbench.recipes.specs.encoders import (
    ColorHistogram,
    EncoderSpec,
    NarrowResNet,
    RawPixels,
    ResNet,
    SmallAlexNet,
    ViT,
)
from sslbench.recipes.specs.libraries import LibraryEncoder, Timm, Torchvision
from sslbench.recipes.specs.masking import (
    HOG,
    Codebook,
    Decoder,
    Mask,
    PatchTarget,
    Pixels,
    PrincipalComponents,
    Reconstruction,
)
from sslbench.recipes.specs.networks import MLP, BatchNorm, Channels, Projector, Prototypes
from sslbench.recipes.specs.objective import ObjectiveSpec
from sslbench.recipes.specs.objectives import (
    AlignUniform,
    CrossCorrelation,
    CrossEntropy,
    NegativeCosine,
    Relational,
)
from sslbench.recipes.specs.optimization import (
    LAMB,
    LARS,
    SGD,
    AdamW,
    Cosine,
    Optimizer,
    Schedule,
    Steps,
)
from sslbench.recipes.specs.targets import EMA, ConstantRandom, MemoryBank, Shared, TargetSpec
from sslbench.recipes.specs.views import Blur, Crop, Jitter, Op, View, Views

__all__ = [
    "EMA",
    "HOG",
    "LAMB",
    "LARS",
    "MLP",
    "SGD",
    "AdamW",
    "AlignUniform",
    "Assignment",
    "BatchNorm",
    "Blur",
    "Centering",
    "Channels",
    "Clips",
    "ClusterAssignment",
    "Codebook",
    "ColorHistogram",
    "ConstantRandom",
    "Cosine",
    "Crop",
    "CrossCorrelation",
    "CrossEntropy",
    "Data",
    "Decoder",
    "DrawnSpec",
    "EncoderSpec",
    "EpochSinkhorn",
    "FeatureTransformation",
    "ImageSet",
    "InfoNCE",
    "Jitter",
    "KMeans",
    "LibraryEncoder",
    "Mask",
    "MemoryBank",
    "NarrowResNet",
    "NegativeCosine",
    "NoiseContrastive",
    "ObjectiveSpec",
    "Op",
    "Optimizer",
    "PatchTarget",
    "Pixels",
    "PrincipalComponents",
    "Projector",
    "Prototypes",
    "RawPixels",
    "Reconstruction",
    "Relational",
    "ResNet",
    "Ring",
    "Scenes",
    "Schedule",
    "Shapes",
    "Shared",
    "SimpleContrast",
    "Sinkhorn",
    "SmallAlexNet",
    "Steps",
    "TargetSpec",
    "Timm",
    "Torchvision",
    "ViT",
    "View",
    "Views",
]
