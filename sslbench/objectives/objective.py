"""The interface of objectives: a loss, and what it remembers from one batch to the next."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sslbench.batch import Batch, Clock, Moment
from sslbench.errors import UserError
from sslbench.objectives.bank import Bank
from sslbench.objectives.embeddings import Embeddings, anchor_views
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import ObjectiveSpec


@dataclass(frozen=True)
class Reads:
    """The views that a loss reads, by number: of the online network, and of the target. Views 0
    and 1 are the global ones, the local crops follow; what is not there is left out."""

    online: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class LossOutput:
    """`loss`: scalar, a mean over this process's images. `metrics`: scalars by name. `carry`: what
    `Objective.remember` is to have, without gradient."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    carry: Any = None


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an objective is built from besides its spec.

    Attributes:
        recipe: it belongs to.
        projected, predicted: widths D of the target's projections and the online predictions.
        num_images: of the training set, where it is known.
        seed: of first entries.
        bank: the memory bank, where the target is one.
    """

    recipe: Recipe
    projected: int
    predicted: int
    num_images: int | None = None
    seed: int = 0
    bank: Bank | None = None

    def require_images(self, what: str) -> int:
        """The number of training images. Raises UserError where it is not known."""
        if self.num_images is None:
            raise UserError(f"{what} needs a training set of fixed images; it has none here.")
        return self.num_images

    def require_width(self, what: str) -> int:
        """D, where projections and predictions agree. Raises UserError where they do not."""
        if self.predicted != self.projected:
            raise UserError(
                f"{what} projections of width {self.projected}, the predictor gives "
                f"{self.predicted}; set predictor.out=null."
            )
        return self.projected


class Objective(nn.Module):
    """A loss that owns what it remembers: queue, centre, prototypes, the epoch's clusters.

    A forward reads its state as it was; `remember` changes it after the optimiser's step. All
    hooks but `reads` and `forward` do nothing unless a kind says so.
    """

    def reads(self, num_views: int) -> Reads:
        """What it reads of so many views (the global two, present or not, and the local crops)."""
        raise NotImplementedError

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        """The loss of one batch.

        Args:
            online: N×D predictions of each view, None where it is not read.
            target: N×D of each view, likewise.
            batch: whose images and clock it may read.
        """
        raise NotImplementedError

    def before_epoch(self, epoch: int, sweep: Callable[[], Iterator[Swept]]) -> None:
        """Before an epoch's first batch; once more where a run resumes inside it.

        Args:
            epoch: from 0.
            sweep: gives the target's projections of all training images by the networks as they
                are.
        """

    def before_step(self, moment: Moment) -> Hashable:
        """Before every step, on the host: what changes by leaps is decided here. Gives the phase:
        steps that run other operations, or with other numbers of the host, differ in it."""
        return None

    def before_update(self, clock: Clock) -> None:
        """After the backward pass: a parameter without gradient is left alone by the optimiser."""

    def after_update(self) -> None:
        """After the optimiser's step, before the target follows."""

    def remember(self, carry: Any, clock: Clock) -> None:
        """Take in what a forward of this step carried; after the target has followed.

        Args:
            clock: of the step.
        """

    def followed(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(target's, online's) parameters that a momentum target moves with its networks."""
        return [], []

    def exported(self, *, of_target: bool) -> dict[str, nn.Module]:
        """What a finished run keeps, by the name of its file; of the target's side where that is
        what is scored."""
        return {}


Swept = tuple[Tensor, list[Tensor]]  # indices N int64, and N×D of each global view
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
Build = Callable[[Any, Given], Objective]


def by_direction(*, symmetric: bool, num_views: int) -> Reads:
    """Every view against both global ones; not symmetric, the first and the crops against 1."""
    views = anchor_views(symmetric=symmetric, num_views=num_views)
    return Reads(tuple(views), (0, 1) if symmetric else (1,))


def anchors_alone(*, symmetric: bool, num_views: int) -> Reads:
    """The same anchors and no target: they are compared with the rows of the memory bank."""
    return Reads(by_direction(symmetric=symmetric, num_views=num_views).online, target=())


class Stateless(Objective):
    """A function of the batch's embeddings alone.

    Args:
        spec: its settings. One with a field `symmetric` reads by direction, any other every view.
        function: (spec, online, target) to the loss and its metrics.
    """

    def __init__(self, spec: ObjectiveSpec, function: Loss) -> None:
        super().__init__()
        self.spec, self.function = spec, function

    def reads(self, num_views: int) -> Reads:
        return by_direction(symmetric=getattr(self.spec, "symmetric", True), num_views=num_views)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        return LossOutput(*self.function(self.spec, online, target))


def stateless(function: Loss) -> Build:
    """What builds the objective of a pure function, for `OBJECTIVES`."""

    @functools.wraps(function)
    def build(spec: ObjectiveSpec, given: Given) -> Objective:
        return Stateless(spec, function)

    return build


def detached(metrics: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same scalars without gradient."""
    return {name: value.detach() for name, value in metrics.items()}


def parameters(modules: Iterable[nn.Module | None]) -> list[nn.Parameter]:
    """Those of the modules that are there, in order."""
    return [p for module in modules if module is not None for p in module.parameters()]
