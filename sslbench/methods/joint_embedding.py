"""Joint embedding: online encoder, projector, predictor; a target; an objective on their outputs.

SimCLR, MoCo, NPID, BYOL, SimSiam, Barlow Twins, SwAV and DINO are settings of this one forward. It
reads the recipe's fields and never its name, so that every combination of them runs.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sslbench import distributed
from sslbench.errors import UserError
from sslbench.methods.output import StepOutput, width
from sslbench.methods.parts import (
    assign_images,
    assignment_of,
    build_bank,
    build_centre,
    build_memory,
    build_prototypes,
    build_queue,
    build_queues,
)
from sslbench.models import (
    Prototypes,
    build_encoder,
    build_head,
    convert_batch_norm,
    keep_all_paths,
)
from sslbench.objectives import OBJECTIVES, Context, Partition
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import (
    EMA,
    ConstantRandom,
    EpochSinkhorn,
    InfoNCE,
    KMeans,
    NoiseContrastive,
    Shared,
)
from sslbench.streams import permutation


class JointEmbedding(nn.Module):
    """One network pair and its objective.

    Args:
        recipe: what is trained; its views, optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        num_images: of the training set, for a memory bank or prototypes.
        seed: of the first entries of the queue or bank.
    Raises:
        UserError: a memory bank without the number of images, more prototypes than images, or a
            predictor of another width.
    Source: methods.md, Sec. 0: z = g(f(v)), p = q(z), target z' = g'(f'(v)) without predictor;
        with prototypes C the objective compares the scores of p by C with those of z' by C'.
    """

    def __init__(
        self, recipe: Recipe, *, resolution: int, num_images: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.objective_spec = recipe.objective
        self.target_spec = recipe.target
        self.norm_spec = recipe.batch_norm
        self.num_global = recipe.views.num_global
        self.objective = OBJECTIVES[type(recipe.objective)]
        self.one_sided = not getattr(recipe.objective, "symmetric", True) and (
            getattr(recipe.objective, "negatives", None) != "both_views"
        )
        self.all_pairs = isinstance(recipe.objective, InfoNCE) and (
            recipe.objective.negatives == "both_views"
        )
        self.frozen_epochs = 0.0 if recipe.prototypes is None else recipe.prototypes.frozen_epochs
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
        self._add_prototypes(recipe, out, num_images)
        for parameter in self.target_parameters():
            parameter.requires_grad_(False)
        self.queue = build_queue(recipe, out, seed=seed)
        self.bank = build_bank(
            recipe, projected=out, predicted=self.out_features, num_images=num_images, seed=seed
        )
        self.assignment = assignment_of(recipe)
        self.centre = build_centre(recipe)
        self.stored = build_queues(recipe, out, seed=seed)
        self.memory = build_memory(recipe, out, num_images=num_images)
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

    def _add_prototypes(self, recipe: Recipe, projected: int, num_images: int | None) -> None:
        def build() -> Prototypes | None:
            return build_prototypes(
                recipe, projected=projected, predicted=self.out_features, num_images=num_images
            )

        self.prototypes = build()
        self.target_prototypes: Prototypes | None = None
        if isinstance(recipe.target, EMA):
            self.target_prototypes = copy.deepcopy(self.prototypes)
        elif isinstance(recipe.target, ConstantRandom):
            self.target_prototypes = build()

    def target_parameters(self) -> list[nn.Parameter]:
        """Parameters of a separate target network, in the order of `online_parameters`."""
        parts = (self.target_encoder, self.target_projector, self.target_prototypes)
        return [p for part in parts if part is not None for p in part.parameters()]

    def online_parameters(self) -> list[nn.Parameter]:
        """Parameters of the online encoder, projector and prototypes (what a target follows)."""
        parts = (self.encoder, self.projector, self.prototypes)
        return [p for part in parts if part is not None for p in part.parameters()]

    @property
    def evaluated(self) -> tuple[nn.Module, nn.Module]:
        """Encoder and projector that a run exports: the online ones, or the target's where the
        recipe says so."""
        if isinstance(self.target_spec, EMA) and self.target_spec.evaluate:
            assert self.target_encoder is not None and self.target_projector is not None
            return self.target_encoder, self.target_projector
        return self.encoder, self.projector

    @property
    def evaluated_prototypes(self) -> Prototypes | None:
        """The prototypes of the network that a run exports."""
        if self.evaluated[0] is self.target_encoder:
            return self.target_prototypes
        return self.prototypes

    def forward(
        self, views: list[Tensor], *, indices: Tensor | None = None, key: int = 0,
        progress: float = 0.0, epoch: float = 0.0,
    ) -> StepOutput:  # fmt: skip
        """The loss of one batch.

        Args:
            views: V tensors N×3×h×w, the global views and then the local crops, which may be of
                another size; the first is the query where the objective is one-sided, the second
                the key.
            indices: N int64, which training images these are; a memory needs them.
            key: of this step's random numbers: the permutation of the key batch, where batch norm
                shuffles, and what the objective draws.
            progress: share of the training steps already done.
            epoch: epochs already done, with the fraction of the running one.
        """
        separate = self.target_encoder is not None or self.bank is not None
        slots = self._slots(views)
        asked = [slot for slot in slots if slot != 1 or not (self.one_sided and separate)]
        outputs = dict(zip(asked, self._project([slots[s] for s in asked], asked), strict=True))
        projections = [outputs.get(slot) for slot in range(max(slots) + 1)]
        online = [None if z is None else self.predictor(z) for z in projections]
        target = self._targets(views, projections, indices, key)
        embedded: list[Tensor] | None = None
        if self.prototypes is not None:
            embedded = [z.detach() for z in target]
            online = [None if p is None else self.prototypes(p) for p in online]
            target = self._target_scores(target)
        context = Context(
            queue=None if self.queue is None else self.queue.entries,
            bank=None if self.bank is None else self.bank.entries,
            partition=self.partition,
            indices=indices,
            key=key,
            progress=progress,
            epoch=epoch,
            centre=self.centre,
            stored=self._stored_scores(),
            assignments=self._clusters_of(indices),
        )
        loss, metrics = self.objective(self.objective_spec, online, target, context=context)
        query = outputs[0].detach()
        return StepOutput(
            loss=loss,
            embeddings=query,
            metrics={name: value.detach() for name, value in metrics.items()},
            keys=self._keys_to_remember(query, target),
            indices=indices,
            target_embeddings=embedded,
            target_scores=None if embedded is None else [scores.detach() for scores in target],
        )

    def _stored_scores(self) -> list[Tensor] | None:
        """Scores of the queued embeddings by the prototypes as they are now, Q×H×K of each view."""
        entries = None if self.stored is None else self.stored.entries()
        return None if entries is None else self._target_scores(entries)

    def _clusters_of(self, indices: Tensor | None) -> Tensor | None:
        if self.memory is None:
            return None
        if indices is None:
            raise UserError("Clusters of an epoch need to know which images a batch holds.")
        return self.memory.assignments[indices]

    def _keys_to_remember(self, query: Tensor, target: list[Tensor]) -> Tensor | None:
        if self.bank is not None:
            return query
        return None if self.queue is None else target[1].detach()

    def before_update(self, *, epoch: float) -> None:
        """Drop the gradients of parameters that are frozen so early; after the backward pass.

        Without a gradient an optimiser leaves a parameter alone, its decay and momentum included.
        """
        if self.prototypes is not None and epoch < self.frozen_epochs:
            self.prototypes.weight.grad = None

    def after_update(self) -> None:
        """Put the prototypes back on the sphere; after the optimiser's step, before the target
        follows."""
        if self.prototypes is not None:
            self.prototypes.renormalize()

    @torch.no_grad()
    def embed(self, views: list[Tensor], *, key: int) -> list[Tensor]:
        """What the epoch memory keeps of a batch: the target's projections N×D of both global
        views; `views` and `key` as in `forward`."""
        shared = self._project(views[:2], [0, 1]) if self.target_encoder is None else []
        return self._targets(views, [*shared], None, key)

    def cluster(self, *, epoch: int, seed: int) -> None:
        """Assign all images to prototypes for this epoch; the epoch memory must be filled."""
        assert self.memory is not None and self.prototypes is not None
        assert isinstance(self.assignment, KMeans | EpochSinkhorn)
        assign_images(
            self.memory, self.assignment, self.prototypes, self.target_prototypes,
            epoch=epoch, seed=seed,
        )  # fmt: skip

    def remember(self, output: StepOutput, *, epoch: float = 0.0) -> None:
        """Put a forward's keys into the queue or the memory bank, its scores into the centre, its
        embeddings where the assignments of later batches look for them; after the optimiser's step.

        Args:
            epoch: epochs done before this step.
        """
        if self.stored is not None and output.target_embeddings is not None:
            self.stored.enqueue(output.target_embeddings, epoch=epoch)
        if self.memory is not None and output.target_embeddings is not None:
            assert output.indices is not None
            self.memory.update(output.indices, output.target_embeddings)
        if self.centre is not None and output.target_scores is not None:
            self.centre.update(torch.cat(output.target_scores))
        if output.keys is None:
            return
        if self.bank is not None:
            assert output.indices is not None
            self.bank.update(output.indices, output.keys)
        if self.queue is not None:
            self.queue.enqueue(output.keys)

    def _slots(self, views: list[Tensor]) -> dict[int, Tensor]:
        """The views by their number to the objective: local crops have 2 and more, also where
        there is one global view."""
        crops = enumerate(views[self.num_global :], start=2)
        return {**dict(enumerate(views[: self.num_global])), **dict(crops)}

    def _project(self, views: list[Tensor], slots: list[int]) -> list[Tensor]:
        """Projections n×D of the views, whose numbers are `slots`, in their order.

        The encoder takes all views of one size in one forward, and the projector all that it
        made: the views share their batch statistics. Where the recipe keeps the global views'
        statistics apart (`joint_views` false), each of these has a forward of its own, and the
        local crops have theirs together.
        """
        if self.norm_spec.joint_views:
            return self._project_together(views)
        num_large = sum(slot < 2 for slot in slots)
        projections = [self.projector(self.encoder(view)) for view in views[:num_large]]
        return projections + self._project_together(views[num_large:])

    def _project_together(self, views: list[Tensor]) -> list[Tensor]:
        if not views:
            return []
        features: dict[int, Tensor] = {}
        for shape in dict.fromkeys(v.shape for v in views):
            same = [i for i, view in enumerate(views) if view.shape == shape]
            together = self.encoder(torch.cat([views[i] for i in same]))
            features |= zip(same, together.chunk(len(same)), strict=True)
        projections: Tensor = self.projector(torch.cat([features[i] for i in range(len(views))]))
        return list(projections.chunk(len(views)))

    def _target_scores(self, target: list[Tensor]) -> list[Tensor]:
        """The scores of what the target network made, n×H×K of each view."""
        if self.target_prototypes is not None:
            with torch.no_grad():
                return [self.target_prototypes(z) for z in target]
        assert self.prototypes is not None
        return [self.prototypes(z) for z in target]

    def _targets(
        self,
        views: list[Tensor],
        projections: list[Tensor | None],
        indices: Tensor | None,
        key: int,
    ) -> list[Tensor]:
        """What the predictions are compared with: n×D of each global view, or of all views where
        NT-Xent compares each with every other."""
        if self.bank is not None:
            if indices is None:
                raise UserError("A MemoryBank needs to know which images a batch holds.")
            return [self.bank.entries[indices]] * 2  # two also where there is one view
        if self.target_encoder is not None:
            if self.one_sided:
                return [self._keys(views[1], key)] * 2  # only the second view's keys are read
            return [self._keys(view, key) for view in views[: self.num_global]]
        assert isinstance(self.target_spec, Shared)
        compared = [z for z in projections if z is not None]
        if not self.all_pairs:
            compared = compared[: self.num_global]
        return [z.detach() for z in compared] if self.target_spec.stop_gradient else compared

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
