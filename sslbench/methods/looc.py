"""Leave-one-out contrast: one query, a key for each augmentation that it shares, several spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sslbench.batch import Batch, Clock
from sslbench.methods.method import (
    Method,
    ParameterGroup,
    StepOutput,
    load_if_alike,
    parameter_groups,
)
from sslbench.methods.targets import NetworkTarget, Online, ema_momentum, ema_update
from sslbench.models import build_encoder, build_head, convert_batch_norm
from sslbench.models.heads import width
from sslbench.objectives.leave_one_out import LeaveOneOutLoss
from sslbench.objectives.objective import detached, parameters
from sslbench.recipes.families import LoocRecipe


class LeaveOneOutContrast(Method):
    """Encoder, a projector for each space, their moving averages, and the loss with its queues.

    Args:
        recipe: what is trained; its views, optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        seed: of the queues' first entries.
    """

    def __init__(
        self,
        recipe: LoocRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recipe, self.resolution, self.num_spaces = recipe, resolution, recipe.num_spaces
        self.encoder, self.projector = self._networks()
        online = Online(self.encoder, self.projector, self._networks, recipe.batch_norm.shuffle)
        self.target = NetworkTarget(recipe.target, online)
        self.shuffles = recipe.batch_norm.shuffle
        self.objective = LeaveOneOutLoss(
            recipe.objective,
            num_spaces=self.num_spaces,
            width=width(self.projector, "out_features") // self.num_spaces,
            seed=seed,
        )

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and projector at a random start."""
        norm = self.recipe.batch_norm
        encoder = build_encoder(self.recipe.encoder, resolution=self.resolution)
        projector = build_head(self.recipe.vector_projector, width(encoder, "num_features"))
        return convert_batch_norm(encoder, norm), convert_batch_norm(projector, norm)

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one batch: the first view is the query, the others its keys 0, 1, ..."""
        query, *others = (view.images for view in batch.views)
        found = self.projector(self.encoder(query))  # N×(S D)
        keys = torch.stack([self._split(self.target.keys(v, batch)) for v in others], dim=1)
        loss, metrics = self.objective(self._split(found), keys)
        return StepOutput(loss, found.detach(), detached(metrics), keys)

    def _split(self, embeddings: Tensor) -> Tensor:
        """N×(S D) to N×S×D."""
        return embeddings.unflatten(1, (self.num_spaces, -1))

    @torch.no_grad()
    def after_update(self, outputs: Sequence[StepOutput], clock: Clock) -> None:
        followed = parameters(self.target.networks() or ())
        momentum = ema_momentum(self.recipe.target, clock.progress)
        ema_update(followed, parameters([self.encoder, self.projector]), momentum)
        # Last: this step's losses have read the queues as they were.
        for output in outputs:
            self.objective.remember(output.carry)

    @torch.no_grad()
    def take_over(self, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().take_over(networks)
        load_if_alike(self.projector, networks.get("projector", {}))
        self.target.restart(self.encoder, self.projector)

    def groups(self) -> list[ParameterGroup]:
        return parameter_groups(self, heads={"projector": self.recipe.projector})

    def exported(self) -> dict[str, nn.Module]:
        """The projector gives all spaces, one after the other (LooC++)."""
        of_target = self.recipe.target.evaluate
        networks = self.target.networks() if of_target else None
        encoder, projector = networks or (self.encoder, self.projector)
        return {"encoder": encoder, "projector": projector}
