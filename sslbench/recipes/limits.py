"""How large a run may be: refused before anything is allocated for a slip of the keyboard.

The limits lie far above what has been published, and are the same on every machine, so that a run
made on a large one is read on any.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.errors import UserError
from sslbench.memory import require_memory
from sslbench.recipes.specs import (
    MLP,
    Channels,
    NarrowResNet,
    Prototypes,
    ResNet,
    SmallAlexNet,
    ViT,
)

LARGEST = (
    2**24
)  # of a whole number that has no limit of its own; ImageNet-22k has 14 million images
LIMITS = {
    "epochs": 100_000,
    "batch_size": 2**17,
    "accumulate": 2**12,
    "width": 2**14,
    "depth": 1_000,
    "blocks": 1_000,
    "patch": 2**12,
    "hidden": 2**20,
    "heads": 2**12,
    "num_local": 100,
    "size": 2**13,
    "resolution": 2**13,
    "kernel": 2**13,
    "bins": 64,
    "iterations": 10_000,
}
LONGEST = 64  # list in a recipe
PARAMETERS = 10**10  # of all networks together; the largest here, with BYOL's heads, has 10^8

if TYPE_CHECKING:
    from sslbench.recipes.recipe import Recipe

_RESNETS = {"resnet18": (11_176_512, 512), "resnet34": (21_284_672, 512),
            "resnet50": (23_508_032, 2048), "resnet101": (42_500_160, 2048),
            "wide_resnet50_2": (66_834_240, 2048)}  # fmt: skip


def require_limits(leaves: Sequence[tuple[str, object]]) -> None:
    """Raise UserError for a field of an experiment whose value no machine has use for.

    Args:
        leaves: (dotted path, value), as `Spec.leaves` gives them.
    """
    for path, value in leaves:
        name = path.rpartition(".")[2]
        values = value if isinstance(value, tuple) else (value,)
        if len(values) > LONGEST:
            raise UserError(f"{path}: has {len(values)} values; at most {LONGEST} fit.")
        limit = LIMITS.get(name, LARGEST)
        for number in values:
            if isinstance(number, int) and number > limit and name != "seed":
                raise UserError(f"{path}: {number} is too large; at most {limit} fits.")


def require_parameters(recipe: Recipe) -> None:
    """Raise UserError for networks of more parameters than can be trained here."""
    total = num_parameters(recipe)
    if total > PARAMETERS:
        raise UserError(
            f"The networks would have about {total:.1e} parameters, {4 * total / 1e9:,.0f} GB; "
            f"at most {PARAMETERS:.0e} fit. Lower the widths of encoder, projector or predictor, "
            "or prototypes.count."
        )


def require_room(recipe: Recipe, resolution: int) -> None:
    """Raise UserError where training does not fit the memory of this machine: weights, gradients,
    momentum, and the views of a batch of images of that side. The activations, which are far more,
    are not counted."""
    views = recipe.views.num_global + recipe.views.num_local
    side = recipe.views.first.size or resolution
    require_memory(
        12 * num_parameters(recipe) + 12 * recipe.batch_size * views * side**2,
        what=f"Training {recipe.name} in batches of {recipe.batch_size:,}",
        remedy="lower batch_size or the widths of the networks",
    )


def num_parameters(recipe: Recipe) -> int:
    """About how many weights the encoder, heads, prototypes and queue have; no biases, and one
    network where there are two."""
    total, width = _encoder(recipe.encoder)
    for head in (recipe.projector, recipe.predictor):
        if isinstance(head, MLP):
            widths = (width, *head.hidden, head.out or width)
            total += sum(a * b for a, b in itertools.pairwise(widths))
        if isinstance(head, Channels | MLP) and head is recipe.projector:
            width = head.out or width
    if isinstance(recipe.prototypes, Prototypes):
        total += recipe.prototypes.count * recipe.prototypes.heads * width
    return total + width * (getattr(recipe.objective, "queue", None) or 0)


def _encoder(encoder: object) -> tuple[int, int]:
    """(weights, output width)."""
    if isinstance(encoder, ResNet):
        return _RESNETS[encoder.arch]
    if isinstance(encoder, NarrowResNet):
        widths = [encoder.width * 2**i for i in range(len(encoder.blocks))]
        pairs = zip(encoder.blocks, widths, strict=True)
        return sum(18 * blocks * width**2 for blocks, width in pairs), widths[-1]
    if isinstance(encoder, ViT):
        width, depth, _ = encoder.shape()
        return 12 * depth * width**2 + 3 * encoder.patch**2 * width, width
    if isinstance(encoder, SmallAlexNet):
        return 23_000_000, 4096
    return 0, 0  # raw pixels and histograms: nothing is trained on them
