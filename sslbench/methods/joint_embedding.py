"""Joint embedding: online encoder, projector, predictor; a target; an objective on their outputs.

SimCLR, MoCo, BYOL, SimSiam and Barlow Twins are settings of this one forward. It reads the
recipe's fields and never its name, so that every combination of them runs.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sslbench import distributed
from sslbench.methods.output import StepOutput, width
from sslbench.models import build_encoder, build_head, convert_batch_norm
from sslbench.objectives import OBJECTIVES, Context
from sslbench.objectives.queue import Queue
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import EMA, ConstantRandom, InfoNCE, Shared
from sslbench.streams import permutation


class JointEmbedding(nn.Module):
    """One network pair and its objective.

    Args:
        recipe: what is trained; its views, optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        seed: of the queue's first entries.
    Source: methods.md, Sec. 0: z = g(f(v)), p = q(z), target z' = g'(f'(v)) without predictor.
    """

    def __init__(self, recipe: Recipe, *, resolution: int, seed: int = 0) -> None:
        super().__init__()
        self.objective_spec = recipe.objective
        self.target_spec = recipe.target
        self.norm_spec = recipe.batch_norm
        self.objective = OBJECTIVES[type(recipe.objective)]
        self.one_sided = not getattr(recipe.objective, "symmetric", True) and (
            getattr(recipe.objective, "negatives", None) != "both_views"
        )
        self.encoder, self.projector = self._networks(recipe, resolution)
        out = width(self.projector, "out_features")
        predictor = build_head(recipe.predictor, out)
        self.predictor = convert_batch_norm(predictor, recipe.batch_norm)
        self.out_features = width(self.predictor, "out_features")
        self.target_encoder: nn.Module | None = None
        self.target_projector: nn.Module | None = None
        if isinstance(recipe.target, EMA):
            self.target_encoder = copy.deepcopy(self.encoder)
            self.target_projector = copy.deepcopy(self.projector)
        elif isinstance(recipe.target, ConstantRandom):
            self.target_encoder, self.target_projector = self._networks(recipe, resolution)
        for parameter in self.target_parameters():
            parameter.requires_grad_(False)
        self.queue: Queue | None = None
        if isinstance(recipe.objective, InfoNCE) and recipe.objective.queue is not None:
            normalize = recipe.objective.normalize
            self.queue = Queue(recipe.objective.queue, out, seed=seed, normalize=normalize)

    @staticmethod
    def _networks(recipe: Recipe, resolution: int) -> tuple[nn.Module, nn.Module]:
        encoder = build_encoder(recipe.encoder, resolution=resolution)
        projector = build_head(recipe.projector, width(encoder, "num_features"))
        return (
            convert_batch_norm(encoder, recipe.batch_norm),
            convert_batch_norm(projector, recipe.batch_norm),
        )

    def target_parameters(self) -> list[nn.Parameter]:
        """Parameters of a separate target network, in the order of `online_parameters`."""
        if self.target_encoder is None or self.target_projector is None:
            return []
        return [*self.target_encoder.parameters(), *self.target_projector.parameters()]

    def online_parameters(self) -> list[nn.Parameter]:
        """Parameters of the online encoder and projector (what a target follows)."""
        return [*self.encoder.parameters(), *self.projector.parameters()]

    def forward(
        self, views: list[Tensor], *, indices: Tensor | None = None, key: int = 0,
        progress: float = 0.0,
    ) -> StepOutput:  # fmt: skip
        """The loss of one batch.

        Args:
            views: V tensors N×3×H×W; the first is the query where the objective is one-sided.
            indices: N int64, which training images these are.
            key: of this step's random numbers: the permutation of the key batch, where batch norm
                shuffles, and what the objective draws.
            progress: share of the training steps already done.
        """
        separate = self.target_encoder is not None
        queries = views[:1] if self.one_sided and separate else views
        projections = self._project(queries)
        predictions = [self.predictor(z) for z in projections]
        predictions += predictions[:1] * (len(views) - len(predictions))  # one-sided: not read
        target = self._targets(views, projections, key)
        queue = None if self.queue is None else self.queue.entries
        context = Context(queue=queue, indices=indices, key=key, progress=progress)
        loss, metrics = self.objective(self.objective_spec, predictions, target, context=context)
        return StepOutput(
            loss=loss,
            embeddings=projections[0].detach(),
            metrics={name: value.detach() for name, value in metrics.items()},
            keys=None if self.queue is None else target[1].detach(),
        )

    def _project(self, views: list[Tensor]) -> list[Tensor]:
        if self.norm_spec.joint_views and len({v.shape for v in views}) == 1:
            joint = self.projector(self.encoder(torch.cat(views)))
            return list(joint.chunk(len(views)))
        return [self.projector(self.encoder(v)) for v in views]

    def _targets(self, views: list[Tensor], projections: list[Tensor], key: int) -> list[Tensor]:
        """What each view's prediction is compared with, a list of n×D, one per view."""
        if self.target_encoder is not None:
            if self.one_sided:
                return [self._keys(views[1], key)] * 2  # only the second view's keys are read
            return [self._keys(view, key) for view in views]
        assert isinstance(self.target_spec, Shared)
        return [z.detach() for z in projections] if self.target_spec.stop_gradient else projections

    @torch.no_grad()
    def _keys(self, view: Tensor, shuffle_key: int) -> Tensor:
        """Target projections, n×D, without gradient. Under shuffled batch norm the global batch
        is permuted first, so that no query shares its statistics with its key (MoCo, Sec. 3.3)."""
        assert self.target_encoder is not None and self.target_projector is not None
        if not self.norm_spec.shuffle:
            return self.target_projector(self.target_encoder(view))
        count, start = len(view), distributed.rank() * len(view)
        order = permutation(shuffle_key, count * distributed.world_size()).to(view.device)
        mine = distributed.gather(view)[order][start : start + count]
        keys = self.target_projector(self.target_encoder(mine))
        return distributed.gather(keys)[torch.argsort(order)][start : start + count]
