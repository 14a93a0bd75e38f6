"""What every method must beat: the untrained encoder, raw pixels, colours; and supervision."""

from __future__ import annotations

from sslbench.recipes.families import FixedRecipe, SupervisedRecipe
from sslbench.recipes.specs import (
    SGD,
    AdamW,
    ColorHistogram,
    Cosine,
    CrossEntropy,
    RawPixels,
    ResNet,
    Steps,
    Views,
    ViT,
)
from sslbench.recipes.views import CROP_FLIP_VIEW, PRESETS

supervised = SupervisedRecipe(
    name="supervised",
    source="He et al. 2016, arXiv:1512.03385, Sec. 3.4, in its 90-epoch form",
    departures=(
        "The step schedule is the common 30/60 of 90 epochs.",
        "Batch statistics are those of the global batch, as for the other recipes.",
    ),
    views=Views(first=CROP_FLIP_VIEW, num_global=1),
    encoder=ResNet(arch="resnet50"),
    objective=CrossEntropy(),
    optimizer=SGD(lr=0.1, weight_decay=1e-4, scaling="linear"),
    schedule=Steps(milestones=(1 / 3, 2 / 3), factor=0.1),
    epochs=90,
    batch_size=256,
)

supervised_multicrop = supervised.but(
    name="supervised-multicrop",
    source="Caron et al. 2020, arXiv:2006.09882, Fig. 3 left, 'Supervised'",
    departures=("All else is this bench's supervised run; the paper does not print its schedule.",),
    views=PRESETS["crop-flip-small"],
)

supervised_vit = supervised.but(
    name="supervised-vit",
    source="Touvron et al. 2020, arXiv:2012.12877, Table 9",
    departures=(
        "Crops and flips only: without mixup, cutmix, RandAugment, erasing and repetition.",
    ),
    encoder=ViT(arch="small", patch=16, drop_path=0.1),
    objective=CrossEntropy(label_smoothing=0.1),
    optimizer=AdamW(lr=2.5e-4, weight_decay=0.05, scaling="linear"),  # 5e-4 per 512 images
    schedule=Cosine(warmup_epochs=5),
    epochs=300,
    batch_size=1024,
)

untrained = FixedRecipe(
    name="untrained",
    source="The encoder at its random initialisation.",
    views=supervised.views,
    encoder=supervised.encoder,
    optimizer=supervised.optimizer,
    schedule=supervised.schedule,
    batch_size=supervised.batch_size,
)
untrained_vit = untrained.but(name="untrained-vit", encoder=ViT(arch="small", patch=16))
raw_pixels = untrained.but(
    name="raw-pixels", source="The image itself as the representation.", encoder=RawPixels()
)
color_histogram = untrained.but(
    name="color-histogram", source="Colour alone, without place.", encoder=ColorHistogram()
)
