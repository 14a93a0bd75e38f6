"""Clustering: SwAV, DeepCluster-v2 and SeLa-v2, ImageNet settings."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    LARS,
    MLP,
    BatchNorm,
    ClusterAssignment,
    Cosine,
    EpochSinkhorn,
    KMeans,
    Prototypes,
    ResNet,
    Shared,
    Sinkhorn,
)
from sslbench.recipes.views import PRESETS

swav = JointRecipe(
    name="swav",
    source="Caron et al. 2020, arXiv:2006.09882, Sec. 3 and App. A",
    departures=(
        "Without a queue, as at a batch of 4096; at 256 the authors have "
        "objective.assignment.queue 3840 from epoch 15 and no warm-up.",
    ),
    views=PRESETS["swav"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(2048,), out=128),
    prototypes=Prototypes(count=3000, frozen_epochs=1),  # 313 steps in the authors' command
    target=Shared(),
    objective=ClusterAssignment(temperature=0.1, assignment=Sinkhorn(epsilon=0.05, iterations=3)),
    batch_norm=BatchNorm(mode="synchronized", joint_views=True),
    # LARC over SGD in the authors' code: biases and norms are adapted and decayed too.
    optimizer=LARS(lr=0.3, weight_decay=1e-6, exclude_bias_and_norm=False),
    # At 4,096 images from 0.3 to 4.8, and down to 0.0048.
    schedule=Cosine(warmup_epochs=10, warmup_start=0.0625, floor=0.001),
    epochs=800,
    batch_size=4096,
)

deepcluster_v2 = swav.but(
    name="deepcluster-v2",
    source="Caron et al. 2020, arXiv:2006.09882, App. D, 'DeepCluster-v2'",
    departures=(
        "A centroid that loses all its images takes a part of a large cluster (faiss's rule); in "
        "the authors' code it stays where it is.",
        "K-means starts at images drawn from all; the authors draw from the first process's.",
        "An image that an epoch leaves out keeps its embeddings; in the authors' code it has no "
        "cluster in the next epoch.",
    ),
    views=PRESETS["swav-small"],
    # Three clusterings, of the embeddings of either view in turn.
    prototypes=Prototypes(count=3000, heads=3),
    epochs=400,
).but({"objective.assignment": KMeans(iterations=10)})

sela_v2 = deepcluster_v2.but(
    name="sela-v2",
    source="Caron et al. 2020, arXiv:2006.09882, App. D, 'SeLa-v2'",
    departures=(
        "The authors released no script: Sinkhorn's epsilon and iterations are SwAV's, as App. D "
        "says of all hyperparameters, and the codes are rounded, as Sec. 3.1 says of SeLa.",
        "The three heads are one parameter to LARS, with one trust ratio.",
    ),
).but(
    {
        "objective.assignment": EpochSinkhorn(epsilon=0.05, iterations=3),
        "prototypes.frozen_epochs": 1,
    }
)
