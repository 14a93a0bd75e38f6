"""Prototypes, and what assignments to them keep from one batch to the next."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.batch import Batch, Clock, Moment
from sslbench.errors import UserError
from sslbench.objectives.centre import Centre
from sslbench.objectives.cluster_assignment import Assigned, cluster_assignment
from sslbench.objectives.embeddings import Embeddings
from sslbench.objectives.epoch_memory import EpochMemory
from sslbench.objectives.objective import (
    Given,
    LossOutput,
    Objective,
    Reads,
    Swept,
    by_direction,
    parameters,
)
from sslbench.objectives.prototypes import Prototypes
from sslbench.objectives.queue import ViewQueues
from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import (
    EMA,
    Centering,
    ClusterAssignment,
    ConstantRandom,
    EpochSinkhorn,
    KMeans,
    Sinkhorn,
)


class ClusterAssignmentLoss(Objective):
    """Prototypes of the online network and of a separate target, and the state of their
    assignments: a centre, queues of embeddings, or clusters of the last epoch.

    Raises:
        UserError: a predictor of another width, more prototypes than images, or clusters of an
            epoch without a training set of fixed images.
    """

    def __init__(self, spec: ClusterAssignment, given: Given) -> None:
        super().__init__()
        recipe = given.recipe
        assert isinstance(recipe, JointRecipe) and recipe.prototypes is not None  # its validate
        self.spec, self.seed = spec, given.seed
        self.frozen_epochs, self.frozen = recipe.prototypes.frozen_epochs, False
        self.prototypes = _prototypes(given)
        self.target_prototypes: Prototypes | None = None
        if isinstance(recipe.target, EMA):
            self.target_prototypes = copy.deepcopy(self.prototypes)
        elif isinstance(recipe.target, ConstantRandom):
            self.target_prototypes = _prototypes(given)
        if self.target_prototypes is not None:
            self.target_prototypes.requires_grad_(False)
        # K-means' centroids are found, not learned.
        self.prototypes.requires_grad_(not isinstance(spec.assignment, KMeans))
        self.centre: Centre | None = None
        self.stored: ViewQueues | None = None
        self.memory: EpochMemory | None = None
        self._add_state(given, heads=recipe.prototypes.heads)

    def _add_state(self, given: Given, *, heads: int) -> None:
        how, count = self.spec.assignment, self.prototypes.weight.shape[1]
        if isinstance(how, Centering):
            self.centre = Centre(heads, count, momentum=how.momentum)
        elif isinstance(how, Sinkhorn) and how.queue is not None:
            self.stored = ViewQueues(
                how.queue, given.projected, start_epoch=how.queue_start_epoch, seed=given.seed
            )
        elif isinstance(how, KMeans | EpochSinkhorn):
            num_images = given.require_images(type(how).__name__)
            self.memory = EpochMemory(num_images, given.projected, heads=heads)

    def reads(self, num_views: int) -> Reads:
        online = by_direction(symmetric=self.spec.symmetric, num_views=num_views)
        if self.stored is None and self.memory is None:
            return online
        return Reads(online.online, (0, 1))  # both global views are kept

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        embedded = [z for z in target if z is not None]  # n×D of each global view that is read
        scores = [None if z is None else self._target_scores(z) for z in target]  # n×H×K
        loss, metrics = cluster_assignment(
            self.spec,
            [None if p is None else self.prototypes(p) for p in online],
            scores,
            given=Assigned(
                centre=None if self.centre is None else self.centre.value,
                epoch=batch.clock.epoch,
                stored=self._stored_scores(),
                clusters=self._clusters(batch.indices),
            ),
        )
        kept = [s.detach() for s in scores if s is not None]
        return LossOutput(loss, metrics, (batch.indices, [z.detach() for z in embedded], kept))

    def _target_scores(self, embeddings: Tensor) -> Tensor:
        """The scores of what the target network made, n×H×K."""
        if self.target_prototypes is None:
            return self.prototypes(embeddings)
        with torch.no_grad():
            return self.target_prototypes(embeddings)

    def _stored_scores(self) -> list[Tensor] | None:
        """Scores of the queued embeddings by the prototypes as they are now, Q×H×K of each view."""
        entries = None if self.stored is None else self.stored.entries()
        return None if entries is None else [self._target_scores(rows) for rows in entries]  # Q×H×K

    def _clusters(self, indices: Tensor | None) -> Tensor | None:
        if self.memory is None:
            return None
        if indices is None:
            raise UserError("Clusters of an epoch need to know which images a batch holds.")
        return self.memory.assignments[indices]

    def before_epoch(self, epoch: int, sweep: Callable[[], Iterator[Swept]]) -> None:
        if self.memory is None:
            return
        clustered = int(self.memory.epoch)  # waits for the device, once an epoch
        if clustered < 0:  # an empty memory: embeddings of the networks as they start
            for indices, views in sweep():
                self.memory.update(indices, views)
        if clustered < epoch:  # not twice where a run resumes inside the epoch
            self._cluster(self.memory, epoch)

    @torch.no_grad()
    def _cluster(self, memory: EpochMemory, epoch: int) -> None:
        """Assign all images to prototypes for this epoch. Sinkhorn scores by the target's
        prototypes where there are any; k-means' centroids become the prototypes of both."""
        how = self.spec.assignment
        assert isinstance(how, KMeans | EpochSinkhorn)
        vectors = F.normalize((self.target_prototypes or self.prototypes).weight, dim=2)  # H×K×D
        vectors = memory.cluster(how, vectors, epoch=epoch, seed=self.seed)
        if isinstance(how, KMeans):
            for prototypes in (self.prototypes, self.target_prototypes):
                if prototypes is not None:
                    prototypes.replace(vectors)

    def before_step(self, moment: Moment) -> Hashable:
        self.frozen = moment.epoch < self.frozen_epochs
        return self.frozen, None if self.stored is None else self.stored.before_step(moment)

    def before_update(self, clock: Clock) -> None:
        if self.frozen:
            # None and not 0, as in the codes of SwAV and DINO: with a gradient of 0 the weights
            # would still decay.
            self.prototypes.weight.grad = None

    def after_update(self) -> None:
        self.prototypes.renormalize()

    def remember(self, carry: Any, clock: Clock) -> None:
        indices, embedded, scores = carry
        if self.stored is not None:
            self.stored.enqueue(embedded)
        if self.memory is not None:
            self.memory.update(indices, embedded)
        if self.centre is not None:
            # Of all views that the teacher scored; the loss of this step had the centre before.
            self.centre.update(torch.cat(scores))

    def followed(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        if self.target_prototypes is None:
            return [], []
        return parameters([self.target_prototypes]), parameters([self.prototypes])

    def exported(self, *, of_target: bool) -> dict[str, nn.Module]:
        of = self.target_prototypes if of_target else self.prototypes
        assert of is not None
        return {"prototypes": of}


def _prototypes(given: Given) -> Prototypes:
    """At their random start."""
    assert isinstance(given.recipe, JointRecipe)
    spec = given.recipe.prototypes
    assert spec is not None
    width = given.require_width("The prototypes score")
    if given.num_images is not None and spec.count > given.num_images:
        raise UserError(
            f"{spec.count} prototypes are more than the {given.num_images} training images; set "
            f"prototypes.count to {given.num_images} or less."
        )
    return Prototypes(spec, width)
