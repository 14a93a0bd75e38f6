"""Contrast that keeps what augmentations change, ImageNet settings: LooC."""

from __future__ import annotations

from sslbench.recipes.contrastive import moco_v2
from sslbench.recipes.families import LoocRecipe
from sslbench.recipes.specs import EMA, MLP, BatchNorm, LeaveOneOut, ResNet
from sslbench.recipes.views import PRESETS

looc = LoocRecipe(
    name="looc",
    source="Xiao et al. 2020, arXiv:2008.05659, Sec. 3; loss as in the code of SeCo, "
    "arXiv:2103.16607",
    departures=(
        "Colour (jitter and grey) and quarter turns are told apart; the paper's third, texture, "
        "needs copies of the images in other styles.",
        "All else is this bench's MoCo v2: 200 epochs, queue, rate and momentum. The paper trains "
        "on 100 classes.",
        "In space 0 the key of independent augmentations is the one positive, as in SeCo's code; "
        "the loss is the mean over spaces, which SeCo's sums.",
        "The embeddings of every space are unit vectors, also in their concatenation.",
    ),
    views=PRESETS["looc"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(2048,), out=128, hidden_norm=False),
    target=EMA(momentum=0.999),
    objective=LeaveOneOut(temperature=0.2, queue=65536),
    batch_norm=BatchNorm(mode="split", splits=8, shuffle=True),
    optimizer=moco_v2.optimizer,
    schedule=moco_v2.schedule,
    epochs=200,
    batch_size=256,
)
