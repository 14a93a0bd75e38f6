"""Instance discrimination with a memory bank: NPID, and the losses of the behaviour study."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    MLP,
    SGD,
    InfoNCE,
    MemoryBank,
    NoiseContrastive,
    ResNet,
    Ring,
    SimpleContrast,
    Steps,
)
from sslbench.recipes.views import PRESETS

npid = JointRecipe(
    name="npid",
    source="Wu et al. 2018, arXiv:1805.01978, Sec. 3 and 4.2",
    departures=(
        "Without the paper's proximal term, as in the authors' code.",
        "The normalising constant is the first batch's mean over the drawn rows (Eq. 8); the "
        "authors' code counts the own row among them.",
        "Batch statistics are those of the global batch; the authors' are each device's.",
    ),
    views=PRESETS["instdisc-one-view"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(), out=128),
    target=MemoryBank(momentum=0.5),  # of the authors' code
    objective=NoiseContrastive(temperature=0.07, num_negatives=4096, symmetric=False),
    optimizer=SGD(lr=0.03, weight_decay=1e-4, scaling="linear"),
    schedule=Steps(milestones=(0.6, 0.8), factor=0.1),  # epochs 120 and 160
    epochs=200,
    batch_size=256,
)

instdisc = npid.but(
    name="instdisc",
    source="Wang and Liu 2020, arXiv:2012.09740, Sec. 5, 'contrastive loss', the CIFAR-10 setting",
    departures=("The recipe is the paper's on CIFAR-10, also at the scale of ImageNet.",),
    encoder=ResNet(arch="resnet18", stem="small"),
    objective=InfoNCE(temperature=0.07, negatives="bank", symmetric=False),
    optimizer=SGD(lr=0.03, weight_decay=5e-4),  # 1e-4 on ImageNet-100
    schedule=Steps(milestones=(0.8, 0.95), factor=0.1),  # epochs 160 and 190
    batch_size=128,
)

instdisc_hard = instdisc.but(
    name="instdisc-hard",
    source="Wang and Liu 2020, arXiv:2012.09740, Sec. 5, 'hard contrastive loss'",
    departures=(
        *instdisc.departures,
        "The nearest 8.19 % of the bank, the 4,095 entries that the paper keeps of CIFAR's 50,000.",
    ),
).but({"objective.ring": Ring(outer=0.0819)})

simple = instdisc.but(
    name="simple",
    source="Wang and Liu 2020, arXiv:2012.09740, Sec. 3, 'simple loss'",
    departures=(
        *instdisc.departures,
        "The negatives' weight is 1 over the bank's length and the own row is among them, as in "
        "the author's code.",
    ),
    objective=SimpleContrast(weight=1.0, symmetric=False),
)

simple_hard = simple.but(
    name="simple-hard",
    source="Wang and Liu 2020, arXiv:2012.09740, Sec. 5, 'hard simple loss'",
    departures=(*simple.departures, instdisc_hard.departures[-1]),
).but({"objective.ring": Ring(outer=0.0819)})
