"""What every method must beat: the untrained encoder, raw pixels, colours; and supervision."""

from __future__ import annotations

from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    SGD,
    ColorHistogram,
    CrossEntropy,
    RawPixels,
    ResNet,
    Steps,
    Views,
)
from sslbench.recipes.views import CROP_FLIP_VIEW

supervised = Recipe(
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

untrained = supervised.but(
    name="untrained", source="The encoder at its random initialisation.", departures=(), epochs=0
)
raw_pixels = untrained.but(
    name="raw-pixels", source="The image itself as the representation.", encoder=RawPixels()
)
color_histogram = untrained.but(
    name="color-histogram", source="Colour alone, without place.", encoder=ColorHistogram()
)
