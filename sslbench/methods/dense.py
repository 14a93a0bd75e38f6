"""Dense learning: encoder, heads over its last map, a momentum target, a loss on cells.

PixPro, PixContrast and DenseCL are settings of this one forward. It reads the recipe's fields and
never its name, so that every combination of them runs.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sslbench.batch import Batch, Clock, Moment
from sslbench.methods.map_views import channels_of_maps
from sslbench.methods.method import Method, ParameterGroup, StepOutput, parameter_groups
from sslbench.methods.targets import ema_momentum, ema_update, shuffled
from sslbench.models import build_encoder, build_head, convert_batch_norm, keep_all_paths
from sslbench.models.heads import width
from sslbench.models.map_heads import build_map_head, build_predictor
from sslbench.models.maps import last_map, map_and_vector, require_pooled_map
from sslbench.objectives import OBJECTIVES, Given, Objective
from sslbench.objectives.dense import DENSE_OBJECTIVES, Map
from sslbench.objectives.objective import LossOutput, detached, parameters
from sslbench.recipes.base import Spec
from sslbench.recipes.families import DenseRecipe
from sslbench.recipes.specs import InstanceBranch
from sslbench.views.cells import cell_distances


class Seen(NamedTuple):
    """What a network makes of a view: the last map N×C×h×w, its projection N×D×h×w, and of the
    instance branch the projection N×E of one vector an image."""

    features: Tensor
    cells: Tensor
    vector: Tensor | None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the map."""
        return self.features.shape[2], self.features.shape[3]

    def as_map(self, cells: Tensor) -> Map:
        """With `cells` N×D×h×w in place of the projection."""
        return Map(self.features.flatten(2), cells.flatten(2))


class Networks(Protocol):
    """An encoder, the projector of its last map, and that of its output for the instance branch."""

    encoder: nn.Module
    projector: nn.Module
    instance_projector: nn.Module | None


def see(networks: Networks, images: Tensor) -> Seen:
    """What networks make of N×3×h×w images, in one pass."""
    if networks.instance_projector is None:
        features = last_map(networks.encoder, images)
        return Seen(features, networks.projector(features), None)
    features, vector = map_and_vector(networks.encoder, images)
    return Seen(features, networks.projector(features), networks.instance_projector(vector))


class MomentumNetworks(nn.Module):
    """Copies of the online networks, which follow them without gradient."""

    def __init__(self, online: Networks) -> None:
        super().__init__()
        # MoCo's Algorithm 1: f_k starts as f_q.
        self.encoder = copy.deepcopy(online.encoder)
        self.projector = copy.deepcopy(online.projector)
        self.instance_projector = copy.deepcopy(online.instance_projector)
        # Drop path alone is off: in training mode batch norm has the target's own statistics.
        keep_all_paths(self.encoder)
        self.requires_grad_(False)


class DenseLearning(Method):
    """Two networks and a loss on the cells of their maps, with one on vectors beside it.

    Args:
        recipe: what is trained; its optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        seed: of the first entries of the queues.
    Raises:
        UserError: an encoder without maps, or with one of a single cell, views that seldom meet,
            or a predictor of another width.
    """

    def __init__(
        self,
        recipe: DenseRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.recipe, self.shuffles = recipe, recipe.batch_norm.shuffle
        encoder = build_encoder(recipe.encoder, resolution=resolution)
        branch = recipe.active_instance
        if branch is not None:
            require_pooled_map(encoder)
        channels = channels_of_maps(
            encoder, recipe, resolution=resolution, placed=recipe.objective.reads_positions
        )
        self.encoder = self._normed(encoder)
        self.projector = self._normed(build_map_head(recipe.projector, channels))
        projected = width(self.projector, "out_features")
        self.predictor = self._normed(build_predictor(recipe.predictor, projected))
        self.instance_projector: nn.Module | None = None
        self.instance_predictor: nn.Module | None = None
        self.instance: Objective | None = None
        if branch is not None:
            self._add_instance(branch, seed)
        self.target = MomentumNetworks(self)
        build = DENSE_OBJECTIVES[type(recipe.objective)]
        self.objective = build(recipe.objective, width=projected, seed=seed)

    def _normed(self, module: nn.Module) -> nn.Module:
        return convert_batch_norm(module, self.recipe.batch_norm)

    def _add_instance(self, branch: InstanceBranch, seed: int) -> None:
        projector = build_head(branch.projector, width(self.encoder, "num_features"))
        projected = projector.out_features
        predictor = build_head(branch.predictor, projected)
        self.instance_projector = self._normed(projector)
        self.instance_predictor = self._normed(predictor)
        given = Given(
            recipe=self.recipe,
            projected=projected,
            predicted=predictor.out_features,
            seed=seed,
        )
        given.require_width("The instance branch compares")
        self.instance = OBJECTIVES[type(branch.objective)](branch.objective, given)

    def before_step(self, moment: Moment) -> Hashable:
        return None if self.instance is None else self.instance.before_step(moment)

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one batch; the first view is the query where the loss has one direction."""
        anchors = {0, 1} if self.recipe.objective.symmetric else {0}
        keys = {1 - view for view in anchors}
        if self.instance is not None:
            reads = self.instance.reads(2)
            anchors, keys = anchors | set(reads.online), keys | set(reads.target)
        online = {view: see(self, batch.views[view].images) for view in sorted(anchors)}
        target = {view: self._keys(batch, view) for view in sorted(keys)}
        dense = self._dense(online, target, batch)
        loss, metrics, carry = dense.loss, dense.metrics, [dense.carry, None]
        if self.instance is not None:
            other = self._instance(online, target, batch)
            assert self.recipe.instance is not None
            loss = loss + self.recipe.instance.weight * other.loss
            metrics, carry[1] = {**other.metrics, **metrics}, other.carry
        # The projection and not the prediction, a mean over cells: one vector an image.
        pooled = online[0].cells.detach().mean((2, 3))
        return StepOutput(loss, pooled, detached(metrics), carry)

    @torch.no_grad()
    def _keys(self, batch: Batch, view: int) -> Seen:
        images = batch.views[view].images
        if not self.shuffles:
            return see(self.target, images)
        found = shuffled(self._target_parts, images, order=batch.order)
        return Seen(found[0], found[1], found[2] if len(found) > 2 else None)

    def _target_parts(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in see(self.target, images) if part is not None)

    def _dense(
        self, online: Mapping[int, Seen], target: Mapping[int, Seen], batch: Batch
    ) -> LossOutput:
        predicted = {v: seen.as_map(self.predictor(seen.cells)) for v, seen in online.items()}
        projected = {v: seen.as_map(seen.cells) for v, seen in target.items()}
        distances = None
        if self.recipe.objective.reads_positions:
            first, second = batch.views
            distances = cell_distances(first, second, online[0].shape, target[1].shape)
        output: LossOutput = self.objective(predicted, projected, distances, batch.clock)
        return output

    def _instance(
        self, online: Mapping[int, Seen], target: Mapping[int, Seen], batch: Batch
    ) -> LossOutput:
        assert self.instance is not None and self.instance_predictor is not None
        predicted = {v: self.instance_predictor(s.vector) for v, s in online.items()}
        projected = {v: s.vector for v, s in target.items()}
        output: LossOutput = self.instance(
            [predicted.get(v) for v in (0, 1)], [projected.get(v) for v in (0, 1)], batch
        )
        return output

    @torch.no_grad()
    def after_update(self, outputs: Sequence[StepOutput], clock: Clock) -> None:
        momentum = ema_momentum(self.recipe.target, clock.progress)
        ema_update(parameters(_list(self.target)), parameters(_list(self)), momentum)
        for output in outputs:
            dense, vectors = output.carry
            self.objective.remember(dense)
            if self.instance is not None:
                self.instance.remember(vectors, clock)

    @torch.no_grad()
    def take_over(self, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().take_over(networks)
        self.target.encoder.load_state_dict(self.encoder.state_dict())

    def groups(self) -> list[ParameterGroup]:
        branch = self.recipe.active_instance
        own: dict[str, Spec | None] = {"predictor": self.recipe.predictor}
        if branch is not None:
            own |= {
                "instance_projector": branch.projector,
                "instance_predictor": branch.predictor,
            }
        return parameter_groups(self, heads={k: v for k, v in own.items() if v is not None})

    def exported(self) -> dict[str, nn.Module]:
        """The map's heads are not kept."""
        of: Networks = self.target if self.recipe.target.evaluate else self
        vector = of.instance_projector
        return {"encoder": of.encoder, **({} if vector is None else {"projector": vector})}


def _list(of: Networks) -> list[nn.Module | None]:
    return [of.encoder, of.projector, of.instance_projector]
