"""How large a run may be: refused before anything is allocated for a slip of the keyboard.

The limits lie far above what has been published, and are the same on every machine, so that a run
made on a large one is read on any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslbench.errors import UserError
from sslbench.memory import require_memory
from sslbench.recipes.specs import EMA, LAMB, AdamW, ConstantRandom

# Of a whole number that has no limit of its own; ImageNet-22k has 14 million images.
LARGEST = 2**24
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


def require_room(recipe: Recipe, resolution: int, *, unsaid: int = 0) -> None:
    """Raise UserError where training does not fit the memory of this machine: weights, gradients,
    what the optimiser keeps of each, a separate target, and the views of a batch of images of that
    side. The activations, which are far more, are counted once there is a network
    (`engine.room`).

    Args:
        unsaid: weights that the recipe does not tell of, as of a library's network.
    """
    views = recipe.views.count
    side = recipe.views.first.size or resolution
    require_memory(
        4 * _copies(recipe) * (num_parameters(recipe) + unsaid)
        + 12 * recipe.batch_size * views * side**2,
        what=f"Training {recipe.name} in batches of {recipe.batch_size:,}",
        remedy="lower batch_size or the widths of the networks",
    )


def _copies(recipe: Recipe) -> int:
    """Numbers that training keeps for each weight."""
    separate = isinstance(getattr(recipe, "target", None), EMA | ConstantRandom)
    return 2 + moments(recipe) + separate


def moments(recipe: Recipe) -> int:
    """Numbers that the optimiser keeps for each weight."""
    return 2 if isinstance(recipe.optimizer, AdamW | LAMB) else 1


def num_parameters(recipe: Recipe) -> int:
    """About how many weights the encoder, heads, prototypes and queue have; no biases, and one
    network where there are two."""
    return recipe.encoder.num_parameters() + recipe.num_head_parameters()
