"""Whether a step fits the memory of this machine, before one is taken."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sslbench import distributed, memory
from sslbench.engine.hollow import hollow, hollow_batch, without_memory
from sslbench.memory import require_memory
from sslbench.methods import Method
from sslbench.recipes.limits import moments
from sslbench.recipes.recipe import Recipe
from sslbench.views import list_views

# No network here keeps as many bytes as a thousand times its views'; where that much is free,
# nothing is counted.
_MOST = 1000


def require_step(
    method: Method, recipe: Recipe, *, resolution: int, precision: torch.dtype | None
) -> None:
    """Raise UserError where the first step does not fit the memory that is free: what its forward
    pass keeps, the gradients and what the optimiser keeps.

    Args:
        method: on the CPU, where it is to be trained.
        resolution: side of the data's images, pixels.
        precision: of autocast; None is float32.
    """
    free, world = memory.available_memory(), distributed.world_size()
    sides = [view.size or resolution for view in list_views(recipe.views)]
    views = 12 * recipe.batch_size // world * sum(side**2 for side in sides)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    weights = 4 * (1 + moments(recipe)) * trained
    if recipe.epochs == 0 or free is None or _MOST * views + weights < free:
        return
    kept = activation_bytes(method, recipe, resolution=resolution)
    if kept is not None:
        # In half precision some is kept in float32, so that the estimate is a low one.
        size = 1.0 if precision is None else precision.itemsize / 4
        require_memory(
            int(size * kept / world) + weights,
            what=f"A step of {recipe.name} with {recipe.batch_size // world:,} images of "
            f"{max(sides)} pixels",
            remedy="lower batch_size (and raise accumulate to keep their product), or take a "
            "smaller encoder",
        )


def activation_bytes(method: Method, recipe: Recipe, *, resolution: int) -> int | None:
    """Bytes that the forward pass of a step keeps for the backward pass, in float32: the step's
    peak is somewhat above. It runs on the meta device, of a whole batch.

    Returns:
        None of a method that looks at the values of tensors, which there are none of.
    """
    copied = hollow(method)
    own = {_storage(x) for x in [*copied.parameters(), *copied.buffers()]}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no storage takes the place of another

    def keep(x: Tensor) -> Tensor:
        if _storage(x) not in own:
            kept[_storage(x)] = x.untyped_storage().nbytes()
            alive.append(x)
        return x

    with saved_tensors_hooks(keep, lambda x: x), without_memory():
        try:
            copied(hollow_batch(recipe, resolution))
        except Exception:  # a plugin's method, say, which may well fit
            return None
    return sum(kept.values())


def _storage(x: Any) -> int:
    return int(x.untyped_storage()._cdata)
