"""Instance discrimination with negatives, ImageNet settings: SimCLR and MoCo."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    SGD,
    BatchNorm,
    Cosine,
    InfoNCE,
    ResNet,
    Shared,
    Steps,
)
from sslbench.recipes.views import PRESETS

simclr = JointRecipe(
    name="simclr",
    source="Chen et al. 2020, arXiv:2002.05709, Sec. 2 and App. B",
    departures=(
        "NT-Xent is the mean over 2N anchors, as in Eq. 1; the authors' code sums two directions.",
        "Weight decay 1e-6 as in the paper; the code's example command has 1e-4.",
    ),
    views=PRESETS["simclr"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    # The norm of the output scales and does not shift, as in the authors' code.
    projector=MLP(hidden=(2048,), out=128, hidden_bias=False, out_bias=False, out_norm=True,
                  out_norm_shift=False),
    target=Shared(stop_gradient=False),
    objective=InfoNCE(temperature=0.1, negatives="both_views"),
    batch_norm=BatchNorm(mode="synchronized", joint_views=True),
    # At 4,096 images the linear rule and 0.075 sqrt(B) agree: 4.8.
    optimizer=LARS(lr=0.3, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10),
    epochs=100,
    batch_size=4096,
)  # fmt: skip

simclr_multicrop = simclr.but(
    name="simclr-multicrop",
    source="Caron et al. 2020, arXiv:2006.09882, Fig. 3 left and the appendix on multi-crop",
    departures=(
        "All else is this bench's SimCLR at 100 epochs; the paper's row has 400, its own "
        "projector and rates.",
    ),
    views=PRESETS["swav-small"],
)

moco_v1 = JointRecipe(
    name="moco-v1",
    source="He et al. 2019, arXiv:1911.05722, Sec. 3 and 4",
    departures=("Shuffled BN over 8 splits stands for 8 devices, also on one device.",),
    views=PRESETS["instdisc"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(), out=128),
    target=EMA(momentum=0.999),
    objective=InfoNCE(temperature=0.07, negatives="queue", queue=65536, symmetric=False),
    batch_norm=BatchNorm(mode="split", splits=8, shuffle=True),
    optimizer=SGD(lr=0.03, weight_decay=1e-4, scaling="linear"),
    schedule=Steps(milestones=(0.6, 0.8), factor=0.1),  # epochs 120 and 160
    epochs=200,
    batch_size=256,
)

moco_v2 = moco_v1.but(
    name="moco-v2",
    source="Chen et al. 2020, arXiv:2003.04297, Table 1 (d)",
    views=PRESETS["mocov2"],
    # Linear, ReLU, linear: unlike SimCLR's without batch norm.
    projector=MLP(hidden=(2048,), out=128, hidden_norm=False),
    schedule=Cosine(per="epoch"),
).but({"objective.temperature": 0.2})

moco_v2_symmetric = moco_v2.but(
    name="moco-v2-symmetric",
    source="Chen and He 2020, arXiv:2011.10566, Table 4, 'MoCo v2 (repro.+)'",
).but({"objective.symmetric": True})

BN_HEAD = MLP(hidden=(4096,), out=256, hidden_bias=False, out_bias=False, out_norm=True,
               out_norm_affine=False)  # fmt: skip

moco_v3 = JointRecipe(
    name="moco-v3",
    source="Chen et al. 2021, arXiv:2104.02057, Sec. 3 and App. B; the authors' code, 300 epochs",
    departures=(),
    views=PRESETS["mocov3"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=BN_HEAD,
    # Without a norm at its end, unlike the ViT's.
    predictor=BN_HEAD.but(out=None, out_norm=False, out_norm_affine=True),
    target=EMA(momentum=0.99, schedule="cosine"),
    # Algorithm 1 sums two directions, each times twice the temperature.
    objective=InfoNCE(temperature=1.0, negatives="other_view", scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=0.3, weight_decay=1e-6),  # 0.6 in the runs of 100 epochs
    schedule=Cosine(warmup_epochs=10),
    epochs=300,
    batch_size=4096,
)
