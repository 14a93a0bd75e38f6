"""A student that predicts its teacher, ImageNet settings: BYOL, SimSiam, DINO."""

from __future__ import annotations

from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    EMA,
    LARS,
    MLP,
    SGD,
    AdamW,
    BatchNorm,
    Centering,
    ClusterAssignment,
    Cosine,
    NegativeCosine,
    Prototypes,
    ResNet,
    Shared,
    ViT,
)
from sslbench.recipes.views import PRESETS

byol = JointRecipe(
    name="byol",
    source="Grill et al. 2020, arXiv:2006.07733, Sec. 3; the 300-epoch setting of its ablations",
    departures=(
        "The loss is -2cos - 2cos, the paper's squared distances less their constant 4.",
        "Brightness jitter is multiplicative (torchvision); the authors' is additive.",
    ),
    views=PRESETS["byol"],
    # haiku's bottleneck, the authors' encoder, starts its last norm at 0; its basic block does not.
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(4096,), out=256, out_bias=False),
    predictor=MLP(hidden=(4096,), out=None, out_bias=False),
    target=EMA(momentum=0.99, schedule="cosine"),  # 0.996 in the runs of 1,000 epochs
    objective=NegativeCosine(scale=4.0),
    batch_norm=BatchNorm(mode="synchronized"),
    # 1,000 epochs have 0.2 and 1.5e-6; biases and norms are neither adapted nor decayed.
    optimizer=LARS(lr=0.3, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10),
    epochs=300,
    batch_size=4096,
)

simsiam = JointRecipe(
    name="simsiam",
    source="Chen and He 2020, arXiv:2011.10566, Sec. 3 and 4",
    departures=(
        "The last batch norm of the projector learns scale and shift, as in the paper's tables; "
        "the authors' code leaves them out (Sec. 4.4: 68.1 with them, 68.2 without).",
    ),
    views=PRESETS["mocov2"],
    encoder=ResNet(arch="resnet50", zero_init_residual=True),
    projector=MLP(hidden=(2048, 2048), out=2048, hidden_bias=False, out_bias=False, out_norm=True),
    # "lr not decayed" of Table 1 (c), which the paper keeps from there on.
    predictor=MLP(hidden=(512,), out=None, hidden_bias=False, constant_learning_rate=True),
    target=Shared(stop_gradient=True),
    objective=NegativeCosine(scale=1.0),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=SGD(lr=0.05, weight_decay=1e-4, scaling="linear"),  # biases and norms decay too
    schedule=Cosine(per="epoch"),  # the authors' code sets the rate once an epoch
    epochs=100,
    batch_size=512,
)  # fmt: skip

_TEACHER_WARMUP = (
    "The teacher's temperature rises within each epoch of its warm-up; the authors' code moves it "
    "between epochs."
)

dino = JointRecipe(
    name="dino",
    source="Caron et al. 2021, arXiv:2104.14294, Sec. 3, 300 epochs; the authors' code",
    departures=(
        "The prototypes keep length 1, as in the code's default; the authors' command for 300 "
        "epochs of ViT-S lets it go.",
        "Eight local crops, as in the code's default; the paper's best run of 300 epochs has ten.",
        "The class token starts at std 1e-6, as timm's does; the authors' at 0.02.",
        _TEACHER_WARMUP,
    ),
    views=PRESETS["dino"],
    encoder=ViT(arch="small", patch=16, drop_path=0.1),
    projector=MLP(hidden=(2048, 2048), out=256, hidden_norm=False, activation="gelu",
                  init="trunc_normal"),
    prototypes=Prototypes(count=65536, constraint="weight_norm", frozen_epochs=1),
    target=EMA(momentum=0.996, schedule="cosine", evaluate=True),
    objective=ClusterAssignment(
        temperature=0.1,
        assignment=Centering(temperature=0.07, start_temperature=0.04, warmup_epochs=30),
    ),
    batch_norm=BatchNorm(mode="synchronized", joint_views=True),
    # 2e-3 at 1,024 images; the clipping is of each parameter tensor by itself.
    optimizer=AdamW(lr=5e-4, weight_decay=0.04, weight_decay_end=0.4, clip_norm=3.0,
                    scaling="linear"),
    schedule=Cosine(warmup_epochs=10, floor=5e-4),  # 1e-6 of 2e-3 at 1,024 images
    epochs=300,
    batch_size=1024,
)  # fmt: skip

dino_resnet = dino.but(
    name="dino-resnet",
    source="Caron et al. 2021, arXiv:2104.14294, Sec. 3; the authors' README, its command for a "
           "ResNet-50, 100 epochs on 8 GPUs",
    departures=(
        "The teacher takes its two global crops one after the other; the authors' as one batch.",
        "The ResNet-50 of the paper's Table 2 is another run of the authors: LARS, 4,080 images a "
        "step, 800 epochs.",
    ),
    encoder=ResNet(arch="resnet50"),
    optimizer=SGD(lr=0.03, weight_decay=1e-4, clip_norm=3.0, exclude_bias_and_norm=True,
                  scaling="linear"),
    schedule=Cosine(warmup_epochs=10, floor=1.667e-5),  # 1e-6 of 0.06 at 512 images
    epochs=100,
    batch_size=512,
).but({
    "views.first.crop.scale": (0.14, 1.0),
    "views.second.crop.scale": (0.14, 1.0),
    "views.local.crop.scale": (0.05, 0.14),
    "objective.assignment": Centering(temperature=0.04),
})  # fmt: skip
