"""Joint embedding: online encoder, projector, predictor; a target; an objective on their outputs.

SimCLR, MoCo, NPID, BYOL, SimSiam and Barlow Twins are settings of this one forward. It reads the
recipe's fields and never its name, so that every combination of them runs.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sslbench import distributed
from sslbench.errors import UserError
from sslbench.methods.output import StepOutput, width
from sslbench.models import build_encoder, build_head, convert_batch_norm, keep_all_paths
from sslbench.objectives import OBJECTIVES, Bank, Context, Partition, Queue
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    EMA,
    ConstantRandom,
    MemoryBank,
    NoiseContrastive,
    Shared,
    Target,
)
from sslbench.streams import permutation


class JointEmbedding(nn.Module):
    """One network pair and its objective.

    Args:
        recipe: what is trained; its views, optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        num_images: of the training set, for a memory bank.
        seed: of the first entries of the queue or bank.
    Raises:
        UserError: a memory bank without the number of images, or a predictor of another width.
    Source: methods.md, Sec. 0: z = g(f(v)), p = q(z), target z' = g'(f'(v)) without predictor.
    """

    def __init__(
        self, recipe: Recipe, *, resolution: int, num_images: int | None = None, seed: int = 0
    ) -> None:
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
            self.target_encoder = keep_all_paths(copy.deepcopy(self.encoder))
            self.target_projector = copy.deepcopy(self.projector)
        elif isinstance(recipe.target, ConstantRandom):
            self.target_encoder, self.target_projector = self._networks(recipe, resolution)
            keep_all_paths(self.target_encoder)
        for parameter in self.target_parameters():
            parameter.requires_grad_(False)
        self.queue: Queue | None = None
        length = getattr(recipe.objective, "queue", None)
        if length is not None:
            normalize = getattr(recipe.objective, "normalize", True)
            self.queue = Queue(length, out, seed=seed, normalize=normalize)
        self.bank = self._bank(recipe.target, out, num_images, seed)
        self.partition: Partition | None = None
        if isinstance(recipe.objective, NoiseContrastive):
            self.partition = Partition()

    @staticmethod
    def _networks(recipe: Recipe, resolution: int) -> tuple[nn.Module, nn.Module]:
        encoder = build_encoder(recipe.encoder, resolution=resolution)
        projector = build_head(recipe.projector, width(encoder, "num_features"))
        return (
            convert_batch_norm(encoder, recipe.batch_norm),
            convert_batch_norm(projector, recipe.batch_norm),
        )

    def _bank(
        self, target: Target, projected: int, num_images: int | None, seed: int
    ) -> Bank | None:
        if not isinstance(target, MemoryBank):
            return None
        if num_images is None:
            raise UserError("A MemoryBank needs a training set of fixed images; it has none here.")
        if self.out_features != projected:
            raise UserError(
                f"The MemoryBank holds projections of width {projected}, the predictor gives "
                f"{self.out_features}; set predictor.out=null."
            )
        return Bank(num_images, projected, momentum=target.momentum, seed=seed)

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
            indices: N int64, which training images these are; a memory bank needs them.
            key: of this step's random numbers: the permutation of the key batch, where batch norm
                shuffles, and what the objective draws.
            progress: share of the training steps already done.
        """
        separate = self.target_encoder is not None or self.bank is not None
        queries = views[:1] if self.one_sided and separate else views
        projections = self._project(queries)
        predictions = [self.predictor(z) for z in projections]
        predictions += predictions[:1] * (len(views) - len(predictions))  # one-sided: not read
        target = self._targets(views, projections, indices, key)
        context = Context(
            queue=None if self.queue is None else self.queue.entries,
            bank=None if self.bank is None else self.bank.entries,
            partition=self.partition,
            indices=indices,
            key=key,
            progress=progress,
        )
        loss, metrics = self.objective(self.objective_spec, predictions, target, context=context)
        return StepOutput(
            loss=loss,
            embeddings=projections[0].detach(),
            metrics={name: value.detach() for name, value in metrics.items()},
            keys=self._keys_to_remember(projections, target),
            indices=indices,
        )

    def _keys_to_remember(self, projections: list[Tensor], target: list[Tensor]) -> Tensor | None:
        if self.bank is not None:
            return projections[0].detach()
        return None if self.queue is None else target[1].detach()

    def remember(self, output: StepOutput) -> None:
        """Put a forward's keys into the queue or the memory bank; after the optimiser's step."""
        if output.keys is None:
            return
        if self.bank is not None:
            assert output.indices is not None
            self.bank.update(output.indices, output.keys)
        if self.queue is not None:
            self.queue.enqueue(output.keys)

    def _project(self, views: list[Tensor]) -> list[Tensor]:
        if self.norm_spec.joint_views and len({v.shape for v in views}) == 1:
            joint = self.projector(self.encoder(torch.cat(views)))
            return list(joint.chunk(len(views)))
        return [self.projector(self.encoder(v)) for v in views]

    def _targets(
        self, views: list[Tensor], projections: list[Tensor], indices: Tensor | None, key: int
    ) -> list[Tensor]:
        """What each view's prediction is compared with, a list of n×D, one per view."""
        if self.bank is not None:
            if indices is None:
                raise UserError("A MemoryBank needs to know which images a batch holds.")
            return [self.bank.entries[indices]] * 2  # two also where there is one view
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
