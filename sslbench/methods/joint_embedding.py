"""Joint embedding: online encoder, projector, predictor; a target; an objective on their outputs.

SimCLR, MoCo, NPID, BYOL, SimSiam, Barlow Twins, SwAV and DINO are settings of this one forward. It
reads the recipe's fields and never its name, so that every combination of them runs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sslbench.batch import Batch, Clock, Moment, ViewBatch
from sslbench.methods.method import (
    Method,
    ParameterGroup,
    StepOutput,
    load_if_alike,
    parameter_groups,
)
from sslbench.methods.targets import TARGETS, Online, ema_update
from sslbench.models import build_encoder, build_head, convert_batch_norm
from sslbench.models.heads import width
from sslbench.objectives import OBJECTIVES, Given
from sslbench.objectives.objective import Swept, detached, parameters
from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import EMA, MLP


class JointEmbedding(Method):
    """One network pair and its objective: z = g(f(v)), p = q(z), and of the target, which has no
    predictor, z' = g'(f'(v)).

    Args:
        recipe: what is trained; its views, optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        num_images: of the training set, for what remembers every image.
        seed: of the first entries of what is remembered.
    Raises:
        UserError: what remembers every image without the number of images, more prototypes than
            images, or a predictor of another width.
    """

    def __init__(
        self,
        recipe: JointRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recipe, self.resolution = recipe, resolution
        self.encoder, self.projector = self._networks()
        projected = width(self.projector, "out_features")
        predictor = build_head(recipe.predictor, projected)
        self.predictor = convert_batch_norm(predictor, recipe.batch_norm)
        predicted = width(self.predictor, "out_features")
        given = Given(
            recipe=recipe,
            projected=projected,
            predicted=predicted,
            num_images=num_images,
            seed=seed,
        )
        # A second network draws its start after the first and before the objective's parameters.
        online = Online(self.encoder, self.projector, self._networks, recipe.batch_norm.shuffle)
        self.target = TARGETS[type(recipe.target)](recipe.target, online, given)
        self.shuffles = recipe.batch_norm.shuffle and self.target.networks() is not None
        given = replace(given, bank=self.target.bank)
        self.objective = OBJECTIVES[type(recipe.objective)](recipe.objective, given)

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and projector at a random start."""
        norm = self.recipe.batch_norm
        encoder = build_encoder(self.recipe.encoder, resolution=self.resolution)
        projector = build_head(self.recipe.projector, width(encoder, "num_features"))
        return convert_batch_norm(encoder, norm), convert_batch_norm(projector, norm)

    def before_epoch(self, epoch: int, batches: Callable[[], Iterator[Batch]]) -> None:
        def sweep() -> Iterator[Swept]:
            for batch in batches():
                assert batch.indices is not None
                yield batch.indices, self.embed(batch)

        self.objective.before_epoch(epoch, sweep)

    def before_step(self, moment: Moment) -> Hashable:
        return self.objective.before_step(moment)

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one batch; the first view is the query where the objective is one-sided, the
        second the key."""
        views = self._slots(batch.views)  # N×3×h×w of each
        num_views = max(2, 1 + max(views))
        reads = self.objective.reads(num_views)
        asked = [s for s in views if s in reads.online]
        # A shared target is made of these same projections, also of views that it alone reads.
        if self.target.reads_projections:
            asked = [s for s in views if s in reads.online or s in reads.target]
        projections = self._project(views, asked)  # N×D of each
        online = {s: self.predictor(z) for s, z in projections.items() if s in reads.online}  # N×D
        target = self.target(views, projections, reads.target, batch)  # N×D of each
        output = self.objective(_listed(online, num_views), _listed(target, num_views), batch)
        # The projection and not the prediction: what SimSiam's Fig. 2 looks for a collapse in.
        query = projections[min(projections)].detach()
        carry = (output.carry, query, batch.indices)
        return StepOutput(output.loss, query, detached(output.metrics), carry)

    @torch.no_grad()
    def embed(self, batch: Batch) -> list[Tensor]:
        """The target's projections N×D of both global views, as training makes them."""
        views = self._slots(batch.views[:2])
        projections = self._project(views, [0, 1]) if self.target.reads_projections else {}
        found = self.target(views, projections, (0, 1), batch)
        return [found[0], found[1]]

    def before_update(self, clock: Clock) -> None:
        self.objective.before_update(clock)

    @torch.no_grad()
    def after_update(self, outputs: Sequence[StepOutput], clock: Clock) -> None:
        # Prototypes are back on the sphere before the target's follow them; what is remembered
        # comes last, for this step's losses have read the queue as it was.
        self.objective.after_update()
        momentum = self.target.momentum(clock)
        if momentum is not None:
            ema_update(self.target_parameters(), self.online_parameters(), momentum)
        for output in outputs:
            carry, query, indices = output.carry
            self.target.remember(query, indices)
            self.objective.remember(carry, clock)

    def target_parameters(self) -> list[nn.Parameter]:
        """Parameters of a separate target network, in the order of `online_parameters`."""
        return parameters(self.target.networks() or ()) + self.objective.followed()[0]

    def online_parameters(self) -> list[nn.Parameter]:
        """Parameters of the online encoder and projector, and of what a target follows beside."""
        # Not of the predictor: no target has one.
        return parameters([self.encoder, self.projector]) + self.objective.followed()[1]

    @torch.no_grad()
    def take_over(self, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().take_over(networks)
        load_if_alike(self.projector, networks.get("projector", {}))
        self.target.restart(self.encoder, self.projector)

    def groups(self) -> list[ParameterGroup]:
        heads = {"projector": self.recipe.projector, "predictor": self.recipe.predictor}
        return parameter_groups(self, heads={k: v for k, v in heads.items() if isinstance(v, MLP)})

    def exported(self) -> dict[str, nn.Module]:
        target = self.recipe.target
        of_target = isinstance(target, EMA) and target.evaluate
        networks = self.target.networks() if of_target else None
        encoder, projector = networks or (self.encoder, self.projector)
        more = self.objective.exported(of_target=of_target)
        return {"encoder": encoder, "projector": projector, **more}

    def _slots(self, views: Sequence[ViewBatch]) -> dict[int, Tensor]:
        """The views by their number to the objective: local crops have 2 and more, also where
        there is one global view."""
        num_global = self.recipe.views.num_global
        crops = enumerate((v.images for v in views[num_global:]), start=2)
        return {**dict(enumerate(v.images for v in views[:num_global])), **dict(crops)}

    def _project(self, views: Mapping[int, Tensor], asked: Sequence[int]) -> dict[int, Tensor]:
        """Projections n×D of the views that are asked for.

        The encoder takes all views of one size in one forward, and the projector all that it
        made: the views share their batch statistics. Where the recipe keeps the global views'
        statistics apart (`joint_views` false), each of these has a forward of its own, and the
        local crops have theirs together.
        """
        if self.recipe.batch_norm.joint_views:
            return self._project_together({slot: views[slot] for slot in asked})
        alone = {s: self.projector(self.encoder(views[s])) for s in asked if s < 2}
        return {**alone, **self._project_together({s: views[s] for s in asked if s >= 2})}

    def _project_together(self, views: Mapping[int, Tensor]) -> dict[int, Tensor]:
        if not views:
            return {}
        features: dict[int, Tensor] = {}
        # One forward a resolution, as in the codes of SwAV and DINO.
        for shape in dict.fromkeys(view.shape for view in views.values()):
            same = [slot for slot, view in views.items() if view.shape == shape]
            together = self.encoder(torch.cat([views[slot] for slot in same]))  # (V n)×F
            features |= zip(same, together.chunk(len(same)), strict=True)
        projections: Tensor = self.projector(torch.cat([features[slot] for slot in views]))
        return dict(zip(views, projections.chunk(len(views)), strict=True))  # n×D each


def _listed(slots: Mapping[int, Tensor], num_views: int) -> list[Tensor | None]:
    return [slots.get(slot) for slot in range(num_views)]
