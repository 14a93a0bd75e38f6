"""Regions: encoder, a projector of what it says of a box, a predictor, a momentum target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.errors import UserError
from sslbench.methods.map_views import channels_of_maps
from sslbench.methods.method import (
    Method,
    ParameterGroup,
    StepOutput,
    load_if_alike,
    parameter_groups,
    places,
)
from sslbench.methods.targets import NetworkTarget, Online, ema_momentum, ema_update
from sslbench.models import build_encoder, build_head, convert_batch_norm
from sslbench.models.heads import width
from sslbench.models.maps import last_map, require_pooled_map
from sslbench.models.regions import pooled_boxes
from sslbench.objectives.objective import detached, parameters
from sslbench.objectives.regions import region_consistency
from sslbench.recipes.families import RegionRecipe
from sslbench.streams import uniform
from sslbench.views.regions import comparable, in_view, object_boxes, overlap, random_boxes

_BOX_KEY = 0x3C79AC492BA7B653  # separates the boxes from what else the step's key draws


class RegionLearning(Method):
    """Two networks, which agree on what both views show in the same box.

    Args:
        recipe: what is trained; its optimiser and schedule are not read here.
        resolution: side of the images, pixels.
    Raises:
        UserError: an encoder without maps, or with one of a single cell, views that seldom meet, or
            a predictor of another width.
    """

    def __init__(
        self,
        recipe: RegionRecipe,
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
        if predictor.out_features != projected:
            raise UserError(
                f"Boxes have projections of width {projected}, the predictor gives "
                f"{predictor.out_features}; set predictor.out=null."
            )
        self.predictor = convert_batch_norm(predictor, recipe.batch_norm)
        online = Online(self.encoder, self.projector, self._networks, shuffle=False)
        self.target = NetworkTarget(recipe.target, online)

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and projector at a random start."""
        norm = self.recipe.batch_norm
        encoder = build_encoder(self.recipe.encoder, resolution=self.resolution)
        require_pooled_map(encoder)  # so that the projector reads the encoder's vector as well
        channels = channels_of_maps(encoder, self.recipe, resolution=self.resolution, placed=True)
        projector = build_head(self.recipe.projector, channels)
        return convert_batch_norm(encoder, norm), convert_batch_norm(projector, norm)

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one batch."""
        boxes = self.boxes(batch)  # N×K×4, in source pixels
        online = [self._project(self.encoder, self.projector, v, boxes) for v in batch.views]
        predicted = [self.predictor(z.flatten(0, 1)).view_as(z) for z in online]  # N×K×D
        with torch.no_grad():
            encoder, projector = self.target.encoder, self.target.projector
            target = [self._project(encoder, projector, v, boxes) for v in batch.views]
        loss, metrics = region_consistency(
            self.recipe.objective, predicted, target, comparable(boxes)
        )
        # The projection and not the prediction, a mean over boxes: one vector an image.
        return StepOutput(loss, online[0].detach().mean(dim=1), detached(metrics))

    @torch.no_grad()
    def boxes(self, batch: Batch) -> Tensor:
        """N×K×4 (left, top, right, bottom) in source pixels; what is not `comparable` is left out
        of the loss.

        Raises:
            UserError: annotated boxes are wanted, and the batch has none.
        """
        first, second = batch.views
        spec, shared = self.recipe.objective, overlap(first, second)
        key, samples = batch.clock.key ^ _BOX_KEY, places(len(shared), shared.device)
        if spec.boxes == "random":
            u = uniform(key, samples, 4 * spec.count).unflatten(1, (spec.count, 4))
            return random_boxes(shared, u.to(shared.dtype), area=spec.area, ratio=spec.ratio)
        if batch.boxes is None:
            raise UserError("The batch has no boxes of objects; set objective.boxes=random.")
        u = uniform(key, samples, batch.boxes.shape[1])
        return object_boxes(batch.boxes, shared, u, count=spec.count)

    def _project(
        self, encoder: nn.Module, projector: nn.Module, view: ViewBatch, boxes: Tensor
    ) -> Tensor:
        """N×K×D of every box in a view."""
        features = last_map(encoder, view.images)
        found = pooled_boxes(features, in_view(boxes, view), output=self.recipe.objective.output)
        projections: Tensor = projector(found)
        return projections.unflatten(0, boxes.shape[:2])

    @torch.no_grad()
    def after_update(self, outputs: Sequence[StepOutput], clock: Clock) -> None:
        followed = parameters(self.target.networks() or ())
        momentum = ema_momentum(self.recipe.target, clock.progress)
        ema_update(followed, parameters([self.encoder, self.projector]), momentum)

    @torch.no_grad()
    def take_over(self, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().take_over(networks)
        load_if_alike(self.projector, networks.get("projector", {}))
        self.target.restart(self.encoder, self.projector)

    def groups(self) -> list[ParameterGroup]:
        heads = {"projector": self.recipe.projector, "predictor": self.recipe.predictor}
        return parameter_groups(self, heads={k: v for k, v in heads.items() if v is not None})

    def exported(self) -> dict[str, nn.Module]:
        of_target = self.recipe.target.evaluate
        networks = self.target.networks() if of_target else None
        encoder, projector = networks or (self.encoder, self.projector)
        return {"encoder": encoder, "projector": projector}
