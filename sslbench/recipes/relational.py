"""Relations between images, as a teacher sees them: ReSSL, ImageNet settings."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import EMA, MLP, SGD, BatchNorm, Cosine, Relational, ResNet
from sslbench.recipes.views import PRESETS

ressl = JointRecipe(
    name="ressl",
    source="Zheng et al. 2021, arXiv:2107.09282, Sec. 3 and 4.2, and the authors' code",
    departures=("Shuffled BN over 8 splits stands for 8 devices, also on one device.",),
    views=PRESETS["strong-weak"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(4096,), out=512, hidden_norm=False),
    target=EMA(momentum=0.999),
    objective=Relational(temperature=0.1, teacher_temperature=0.04, queue=131072),
    batch_norm=BatchNorm(mode="split", splits=8, shuffle=True),
    optimizer=SGD(lr=0.05, weight_decay=1e-4, exclude_bias_and_norm=True, scaling="linear"),
    schedule=Cosine(warmup_epochs=5),
    epochs=200,
    batch_size=256,
)
