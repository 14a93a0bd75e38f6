"""What stands beside the networks of a recipe: queue and memory bank; prototypes, and what
assignments to them keep from one batch to the next."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sslbench.errors import UserError
from sslbench.models import Prototypes
from sslbench.objectives import Bank, Centre, EpochMemory, Queue, ViewQueues
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    Centering,
    ClusterAssignment,
    EpochSinkhorn,
    KMeans,
    MemoryBank,
    Sinkhorn,
)
from sslbench.recipes.specs.clustering import Assignment


def build_bank(
    recipe: Recipe, *, projected: int, predicted: int, num_images: int | None, seed: int
) -> Bank | None:
    """The memory bank at its random start, if the target is one.

    Args:
        projected, predicted: widths of the projections it holds and of what is compared with them.
        num_images: of the training set, where it is known.
    Raises:
        UserError: the number is not known, or the widths differ.
    """
    target = recipe.target
    if not isinstance(target, MemoryBank):
        return None
    if num_images is None:
        raise UserError("A MemoryBank needs a training set of fixed images; it has none here.")
    if predicted != projected:
        raise UserError(
            f"The MemoryBank holds projections of width {projected}, the predictor gives "
            f"{predicted}; set predictor.out=null."
        )
    return Bank(num_images, projected, momentum=target.momentum, seed=seed)


def build_queue(recipe: Recipe, width: int, *, seed: int) -> Queue | None:
    """The queue of keys at its random start, if the objective has one; `width` of a projection."""
    length = getattr(recipe.objective, "queue", None)
    if length is None:
        return None
    normalize = getattr(recipe.objective, "normalize", True)
    return Queue(length, width, seed=seed, normalize=normalize)


def assignment_of(recipe: Recipe) -> Assignment | None:
    """How the recipe assigns images to prototypes; None where it does not."""
    return recipe.objective.assignment if isinstance(recipe.objective, ClusterAssignment) else None


def build_prototypes(
    recipe: Recipe, *, projected: int, predicted: int, num_images: int | None
) -> Prototypes | None:
    """The prototypes at their random start, if the recipe has any; k-means' are not learned.

    Args:
        projected, predicted: widths of the projections and predictions that they score.
        num_images: of the training set, where it is known.
    Raises:
        UserError: the widths differ, or there are more prototypes than images.
    """
    spec = recipe.prototypes
    if spec is None:
        return None
    if predicted != projected:
        raise UserError(
            f"The prototypes score projections of width {projected}, the predictor gives "
            f"{predicted}; set predictor.out=null."
        )
    if num_images is not None and spec.count > num_images:
        raise UserError(
            f"{spec.count} prototypes are more than the {num_images} training images; set "
            f"prototypes.count to {num_images} or less."
        )
    prototypes = Prototypes(spec, projected)
    prototypes.weight.requires_grad_(not isinstance(assignment_of(recipe), KMeans))
    return prototypes


def build_centre(recipe: Recipe) -> Centre | None:
    """The centre of `Centering`."""
    how = assignment_of(recipe)
    if recipe.prototypes is None or not isinstance(how, Centering):
        return None
    return Centre(recipe.prototypes.heads, recipe.prototypes.count, momentum=how.momentum)


def build_queues(recipe: Recipe, width: int, *, seed: int) -> ViewQueues | None:
    """The queues of `Sinkhorn`, where it has a length for them."""
    how = assignment_of(recipe)
    if not isinstance(how, Sinkhorn) or how.queue is None:
        return None
    return ViewQueues(how.queue, width, start_epoch=how.queue_start_epoch, seed=seed)


def build_memory(recipe: Recipe, width: int, *, num_images: int | None) -> EpochMemory | None:
    """The memory of `KMeans` and `EpochSinkhorn`, empty.

    Raises:
        UserError: the number of images is not known.
    """
    how = assignment_of(recipe)
    if recipe.prototypes is None or not isinstance(how, KMeans | EpochSinkhorn):
        return None
    if num_images is None:
        raise UserError(
            f"{type(how).__name__} needs a training set of fixed images; it has none here."
        )
    return EpochMemory(num_images, width, heads=recipe.prototypes.heads)


@torch.no_grad()
def assign_images(
    memory: EpochMemory, how: KMeans | EpochSinkhorn, online: Prototypes,
    target: Prototypes | None, *, epoch: int, seed: int,
) -> None:  # fmt: skip
    """Assign all images in the memory to prototypes for this epoch.

    Sinkhorn scores by the target's prototypes where there are any; k-means' centroids become the
    prototypes of both networks.
    """
    vectors = F.normalize((target or online).weight, dim=2)
    vectors = memory.cluster(how, vectors, epoch=epoch, seed=seed)
    if isinstance(how, KMeans):
        for prototypes in (online, target):
            if prototypes is not None:
                prototypes.replace(vectors)
