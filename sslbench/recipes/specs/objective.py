"""What an objective asks of a recipe, and how a collapse under it is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sslbench.recipes.base import Spec
from sslbench.recipes.specs.networks import MLP
from sslbench.recipes.specs.targets import EMA, Shared

if TYPE_CHECKING:
    from sslbench.recipes.families.joint import JointRecipe


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Spec, interface=True):
    """A loss on what the online network and the target make of an image's views.

    A kind is data: its implementation is the entry of the same type in
    `sslbench.objectives.OBJECTIVES`. `scores_prototypes` says that it compares scores by
    prototypes, not embeddings. A kind that leaves it open whether the second view is an anchor too
    has a field `symmetric`.
    """

    scores_prototypes: ClassVar[bool] = False

    @property
    def reads_bank(self) -> bool:
        """Whether the negatives are the rows of a memory bank."""
        return False

    @property
    def queue_lengths(self) -> dict[str, int]:
        """The length of each queue by its dotted path, where there is one; a queue is a multiple of
        the batch."""
        return {}

    def validate(self, recipe: JointRecipe) -> None:
        """Rules across pieces of the recipe. Raises UserError."""

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        """Why embeddings may have collapsed under this loss, as a sentence: the first fact of the
        recipe that permits it, else what is left, its settings.

        Args:
            complete: all embeddings are alike; otherwise they fill few dimensions.
        """
        return "The learning rate may be too high for this objective."


def apart(setting: str, *, complete: bool) -> str:
    """The cause under a force between images, of which `setting` is the strength."""
    if complete:
        return (
            f"The negatives did not hold the embeddings apart at {setting}; the learning rate "
            "may be too high."
        )
    return (
        "Few directions tell the negatives apart: the views may be too strong, or share a "
        "shortcut such as colour."
    )


def sharpened(teacher: float, student: float, rest: str) -> str:
    """The cause under a teacher whose distributions hold images apart while they are sharp.

    Args:
        teacher, student: temperatures.
        rest: what else may be wrong.
    """
    if teacher >= student:
        return (
            f"The teacher's temperature {teacher:g} is not below the student's {student:g}, so "
            "nothing sharpens what the student learns."
        )
    return f"The learning rate or the teacher's temperature may be too high, {rest}"


def constant(recipe: JointRecipe) -> str:
    """The cause without negatives, where only an asymmetry keeps a constant output from being the
    answer."""
    target, predictor = recipe.target, recipe.predictor
    if isinstance(target, Shared) and not target.stop_gradient:
        return "There are no negatives and no stop-gradient, so a constant output is the optimum."
    if predictor is None:
        return "There are no negatives and no predictor, so the target is met by a constant output."
    if not predictor.trainable:
        return (
            "The predictor is frozen at its random initialisation, so it cannot follow the target."
        )
    heads = [head for head in (recipe.projector, predictor) if isinstance(head, MLP)]
    if not any((head.hidden_norm and head.hidden) or head.out_norm for head in heads):
        return "There are no negatives and no batch norm in the heads to keep the images apart."
    if isinstance(target, EMA) and target.momentum < 0.5:
        return (
            "The target follows too fast (momentum below 0.5), or the predictor's learning "
            "rate is too low."
        )
    return "The learning rate may be too high, or the predictor's own rate too low."
