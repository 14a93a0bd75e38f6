"""Which negatives, and how much each counts: changes of SimCLR and MoCo."""

from __future__ import annotations

from sslbench.recipes.contrastive import moco_v2, simclr
from sslbench.recipes.specs import (
    MLP,
    SGD,
    AdamW,
    BatchNorm,
    Cosine,
    FeatureTransformation,
    ResNet,
    Ring,
    Steps,
)
from sslbench.recipes.views import PRESETS

dcl = simclr.but(
    name="dcl",
    source="Yeh et al. 2021, arXiv:2110.06848, Sec. 3; ResNet-18 as in the upper part of Table 1",
    departures=(
        "Weight decay 1e-4 and the head 512-512-128 are MoCo's and SimCLR's.",
        "The loss is the mean over 2N anchors; the paper sums the two views of a pair.",
    ),
    encoder=ResNet(arch="resnet18"),
    optimizer=SGD(lr=0.03, weight_decay=1e-4, scaling="linear"),
    schedule=Cosine(),
    epochs=200,
    batch_size=256,
).but(
    {
        "projector.hidden": (512,),
        "objective.temperature": 0.07,
        "objective.positive_in_denominator": False,
    }
)

dclw = dcl.but(
    name="dclw",
    departures=(
        *dcl.departures,
        "No gradient flows through the weights of the positives; the paper does not say.",
    ),
).but({"objective.positive_sigma": 0.5})

debiased = simclr.but(
    name="debiased",
    source="Chuang et al. 2020, arXiv:2007.00224, Sec. 5.1 and the authors' code, for 32 px",
    departures=(
        "Weight decay is decoupled (AdamW); the authors' Adam adds it to the gradient.",
        "Negatives and batch statistics are those of the global batch; the authors' are each "
        "GPU's.",
    ),
    views=PRESETS["cifar-debiased"],
    encoder=ResNet(arch="resnet50", stem="small"),
    projector=MLP(hidden=(512,), out=128, hidden_bias=False),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=AdamW(lr=1e-3, weight_decay=1e-6, exclude_bias_and_norm=False),  # whatever the batch
    schedule=Steps(milestones=()),  # constant
    epochs=400,
    batch_size=256,
).but({"objective.temperature": 0.5, "objective.class_prior": 0.1})  # one of ten classes

hcl = debiased.but(
    name="hcl",
    source="Robinson et al. 2020, arXiv:2010.04592, Sec. 3 and the authors' code, for 32 px",
    departures=(
        *debiased.departures,
        "The hardness stays as it is; its annealing, an option of the code, is not here.",
    ),
).but({"objective.hardness": 1.0})  # the best of 0.5 to 2 on STL-10

moco_ring = moco_v2.but(
    name="moco-ring",
    source="Wu et al. 2020, arXiv:2010.02037, Sec. 3 and the authors' code (MoCoRing)",
    departures=(
        "Batch statistics are those of the whole batch: the authors' code trains on one device, "
        "where its shuffle of the keys leaves them as they are.",
        "The ball narrows linearly, per step; the released configuration leaves that switched off.",
        "Counts of negatives are rounded; the code's are cut off.",
        "The rate falls by MoCo v2's cosine; the code's by 0.1 at 0.68 and 0.83 of training.",
    ),
    encoder=ResNet(arch="resnet18"),
    projector=MLP(hidden=(512,), out=128, hidden_norm=False),
    batch_norm=BatchNorm(mode="synchronized"),
).but(
    {
        "objective.temperature": 0.07,
        # Over the first 100 of 200 epochs.
        "objective.ring": Ring(outer=0.1, inner=0.1, anneal="linear", anneal_share=0.5),
    }
)

moco_ft = moco_v2.but(
    name="moco-ft",
    source="Zhu et al. 2021, arXiv:2108.02982, Sec. 4; 'MoCo v2 + FT', the authors' command",
    departures=(
        *moco_v2.departures,
        "The mixing factors are one a step for all devices; each of the authors' devices draws its "
        "own.",
    ),
).but({"objective.transform": FeatureTransformation(positive_alpha=2.0, negative_alpha=1.6)})
