"""Alignment and uniformity as the objective: in the batch, and with MoCo's queue."""

from __future__ import annotations

from sslbench.recipes.contrastive import moco_v1
from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    MLP,
    SGD,
    AlignUniform,
    BatchNorm,
    Shared,
    SmallAlexNet,
    Steps,
)
from sslbench.recipes.views import PRESETS

align_uniform = JointRecipe(
    name="align-uniform",
    source="Wang and Isola 2020, arXiv:2005.10242, Sec. 5, the STL-10 setting",
    departures=(
        "The recipe is the paper's on STL-10 (64 px), also at the scale of ImageNet.",
        "The representation is fc7; the 128-d layer on top is the projector and starts at "
        "PyTorch's default, the authors' from N(0, 0.02).",
    ),
    views=PRESETS["align-uniform"],
    encoder=SmallAlexNet(),
    projector=MLP(hidden=(), out=128),
    target=Shared(stop_gradient=False),
    objective=AlignUniform(align_power=2.0, uniform_scale=2.0),
    batch_norm=BatchNorm(mode="synchronized", joint_views=True),
    optimizer=SGD(lr=0.12, weight_decay=1e-4, scaling="linear"),
    schedule=Steps(milestones=(0.775, 0.85, 0.925), factor=0.1),  # epochs 155, 170 and 185
    epochs=200,
    batch_size=768,
)

align_uniform_queue = moco_v1.but(
    name="align-uniform-queue",
    source="Wang and Isola 2020, arXiv:2005.10242, Sec. 5, the ImageNet-100 setting; authors' code",
    departures=(
        "Shuffled BN over 4 splits stands for the 4 devices of the authors' command, also on one "
        "device.",
        "Weights, epochs and milestones are the defaults of the authors' code.",
        "Pairs of images are those of the global batch; the authors' code takes each device's.",
    ),
    objective=AlignUniform(
        align_weight=3.0,
        uniform_weight=1.0,
        align_power=2.0,
        uniform_scale=3.0,
        negatives="queue",
        queue=65536,
        symmetric=False,
    ),
    batch_norm=BatchNorm(mode="split", splits=4, shuffle=True),
    optimizer=SGD(lr=0.03, weight_decay=1e-4),  # at 128 images, not scaled
    batch_size=128,
)
